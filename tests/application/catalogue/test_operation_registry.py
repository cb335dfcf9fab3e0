"""The registry: what is listed can be called, unchanged tools keep their parts, listeners are told once."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.application.pipeline import ScriptedBackend, tool
from tests.strategies import few_names, few_tenants, local_bindings, rest_bindings, tools

from stoa.application.catalogue.operation_registry import OperationRegistry
from stoa.domain.operations.catalogue import Catalogue, CatalogueDiff
from stoa.domain.operations.tool import LocalBinding


def registry():
    backend = ScriptedBackend([])
    return OperationRegistry([backend]), backend


local_tools = st.lists(tools(binding=local_bindings), max_size=8)


@settings(deadline=None)
@given(st.lists(local_tools, max_size=4))
def test_listeners_are_told_each_change_once_and_can_follow_it(steps):
    held, _ = registry()
    followed, told = [Catalogue({})], []

    def follow(diff: CatalogueDiff) -> None:
        told.append(diff)
        followed[0] = followed[0].apply(diff)
        assert followed[0] == held.catalogue

    held.subscribe(follow)
    for step in steps:
        version, before = held.version, held.catalogue
        held.replace(step)
        assert (held.version != version) == (held.catalogue != before)
    assert followed[0] == held.catalogue
    assert all(told)
    assert len(told) == held.version


@settings(deadline=None)
@given(local_tools, local_tools)
def test_unchanged_tools_keep_their_compiled_parts(first, second):
    held, _ = registry()
    held.replace(first)
    before = {key: held.find(key.tenant, key.name) for key in held.catalogue.tools}
    held.replace(second)
    for key, current in held.catalogue.tools.items():
        known = before.get(key)
        is_kept = known is not None and known.operation.fingerprint == current.fingerprint
        assert (held.find(key.tenant, key.name) is known) == is_kept


@given(st.lists(tools(binding=local_bindings | rest_bindings), max_size=8), st.sets(few_names), few_tenants)
def test_what_is_listed_has_been_made_ready_and_the_rest_has_a_finding(found, refused, tenant):
    held, backend = registry()
    backend.refused = refused
    findings = held.replace(found)
    for listed in held.catalogue.view(tenant):
        registered = held.find(tenant, listed.name)
        assert registered is not None
        assert registered.operation == listed
        assert listed.name not in refused
        assert isinstance(listed.binding, LocalBinding)
    told = {finding.where for finding in findings}
    assert all(one.key in held.catalogue.operations or str(one.key) in told for one in found if one.enabled)


def test_a_tool_whose_back_end_refuses_it_is_not_listed_and_the_finding_says_why():
    held, backend = registry()
    backend.refused = {"bad"}
    (finding,) = held.replace([tool("good"), tool("bad")])
    assert (finding.where, finding.message) == ("acme/bad", "bad cannot be called")
    assert held.find("acme", "bad") is None
    assert [str(key) for key in held.catalogue.tools] == ["acme/good"]
    backend.refused = set()
    assert held.replace([tool("good"), tool("bad")]) == []
    assert backend.prepared == ["acme/good", "acme/bad"]


def test_a_tool_with_an_unusable_schema_or_unknown_kind_takes_no_other_with_it():
    held, _ = registry()
    findings = held.replace(
        [
            tool("good"),
            tool("input", input_schema={"type": "strng"}),
            tool("output", output_schema={"type": "array"}),
            tool("rest", binding={"kind": "rest", "method": "GET", "base_url": "http://127.0.0.1:9", "path": "/"}),
        ]
    )
    assert [finding.where for finding in findings] == ["acme/input", "acme/output", "acme/rest"]
    assert "no back end for tools of kind rest" in findings[-1].message
    assert [one.name for one in held.catalogue.view("acme")] == ["good"]


def test_a_tenant_that_sees_more_tools_than_some_client_shows_is_named():
    held, _ = registry()
    assert held.replace([tool(f"t{number}") for number in range(40)]) == []
    (finding,) = held.replace([tool(f"t{number}", tenant=None if number else "acme") for number in range(41)])
    assert (finding.where, finding.message.partition(";")[0]) == ("tenant acme", "sees 41 tools")


def test_who_unsubscribed_is_told_nothing_more_even_while_others_are_told():
    held, _ = registry()
    told: list[str] = []

    def leave(diff: CatalogueDiff) -> None:
        told.append("first")
        end()

    end = held.subscribe(leave)
    held.subscribe(lambda diff: told.append("second"))
    held.replace([tool("a")])
    held.replace([tool("b")])
    assert told == ["first", "second", "second"]


def test_a_tool_that_needs_tokens_is_left_out_where_none_can_be_had():
    grant = {"type": "clientCredentials", "token_url": "https://issuer.example/token"}
    authentication = {"type": "oauth2", "secret": {"name": "s"}, "grant": grant}
    held, backend = registry()
    (finding,) = held.replace([tool("plain"), tool("granted", authentication=authentication)])
    assert (finding.where, "without upstream_tokens" in finding.message) == ("acme/granted", True)
    assert backend.prepared == ["acme/plain", "acme/granted"]
    assert held.find("acme", "granted") is None
