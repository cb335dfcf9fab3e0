"""The Gateway as embedding programs use it."""

import asyncio
from datetime import UTC
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field
from tests.application.pipeline import ANN, ScriptedBackend, raises, tool
from tests.strategies import json_values

from stoa.application import BearerToken, Gateway, ListQuery, Principal, Tool, ToolAnnotations
from stoa.application.catalogue.complete_argument import CompletionQuery
from stoa.application.manifests.document_spec_kind import DocumentSpecKind
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.memory.policy_engine import DEFAULT_RULES, Rule, RulesPolicyEngine
from stoa.application.memory.spec_source import InMemorySpecSource
from stoa.application.memory.task_store import InMemoryTaskStore
from stoa.application.memory.token_verifier import InMemoryTokenVerifier
from stoa.application.ports.spec import Conversion, SpecConverter, SpecDocument
from stoa.domain.access.caller_limits import REQUESTS_PER_CALL
from stoa.domain.errors import (
    InvalidArguments,
    InvalidInput,
    NotAuthenticated,
    NotPermitted,
    OperationNotFound,
    QuotaExceeded,
)
from stoa.domain.finding import warning
from stoa.domain.metering.event import Status
from stoa.domain.operations.catalogue import CatalogueDiff
from stoa.domain.operations.operation import OperationKey
from stoa.domain.operations.tool import LocalBinding
from stoa.domain.origin import NamedOrigin
from stoa.domain.results.result import TextContent
from stoa.testing.clock import ManualClock
from stoa.testing.ids import SequentialIds

REST = {"kind": "rest", "method": "GET", "base_url": "http://127.0.0.1:9", "path": "/"}
API = "gostoa.dev/v1alpha1"


def manifest(name, **spec):
    spec = {"endpoint": "http://127.0.0.1:9/", **spec}
    return {"apiVersion": API, "kind": "Tool", "metadata": {"name": name}, "spec": spec}


class Rest(ScriptedBackend):
    kind = "rest"


def with_rest(**parts):
    return Gateway(backends=[Rest([])], **parts)


async def names(gateway, credential=ANN):
    return [one.name for one in (await gateway.tools(credential)).items]


async def test_a_function_is_a_tool_with_and_without_parentheses():
    gateway = Gateway()

    @gateway.tool
    def add(a: int, b: int = 2) -> int:
        """Add two numbers."""
        return a + b

    @gateway.tool(name="twice", description="Doubles.", tags=["math"], category="numbers", timeout_seconds=5)
    def double(n: int) -> int:
        return n * 2

    assert (add(1), double(2)) == (3, 4)
    listed = {one.name: one for one in (await gateway.tools(ANN)).items}
    assert listed["add"].description == "Add two numbers."
    assert listed["add"].input_schema["required"] == ["a"]
    assert (listed["twice"].description, listed["twice"].tags, listed["twice"].category) == (
        "Doubles.", ("math",), "numbers",
    )  # fmt: skip
    outcome = await gateway.invoke("add", {"a": 40}, ANN)
    assert outcome.result is not None
    assert outcome.result.structured == 42


async def test_a_tenants_function_is_its_own():
    gateway = Gateway()
    gateway.tool(lambda: "acme", name="who", tenant="acme")
    gateway.tool(lambda: "beta", name="who", tenant="beta")
    for tenant in ("acme", "beta"):
        outcome = await gateway.invoke("who", {}, Principal.of("x", tenant=tenant, roles=["viewer"]))
        assert outcome.result is not None
        assert outcome.result.content[0].text == tenant
    assert await names(gateway, Principal.of("x", tenant="gamma", roles=["viewer"])) == []


async def test_a_function_under_a_taken_name_is_refused_and_the_first_one_stays():
    gateway = Gateway()
    gateway.tool(lambda: "first", name="f")
    with pytest.raises(InvalidInput, match="registered already"):
        gateway.tool(lambda: "second", name="f")
    outcome = await gateway.invoke("f", {}, ANN)
    assert outcome.result is not None
    assert outcome.result.content[0].text == "first"


async def test_annotations_govern_functions_too():
    gateway = Gateway()
    gateway.tool(lambda: None, name="drop", annotations=ToolAnnotations(destructive_hint=True))
    assert isinstance((await gateway.invoke("drop", {}, ANN)).error, NotPermitted)
    root = Principal.of("root", roles=["cpi-admin"])
    outcome = await gateway.invoke("drop", {}, root)
    assert (outcome.status, outcome.cost >= 2000) == (Status.SUCCESS, True)


async def test_tools_that_cannot_be_registered_are_named_and_the_others_are_registered():
    gateway = Gateway()
    gateway.tool(lambda: None, name="known")
    good = Tool(name="good", binding=LocalBinding(function="global/known"))
    with pytest.raises(InvalidInput, match=r"global/lost.*not registered") as refused:
        gateway.add_tools(good, Tool(name="lost", binding=LocalBinding(function="nowhere")), tool("far", binding=REST))
    assert "acme/far: no back end for tools of kind rest" in refused.value.message
    assert await names(gateway) == ["good", "known"]


async def test_what_some_clients_will_not_take_is_registered_all_the_same():
    gateway = Gateway()
    gateway.tool(lambda: 1, name="long", description="x" * 3000)
    assert await names(gateway) == ["long"]


async def test_a_prompts_arguments_are_described_as_its_parameters_are():
    gateway = Gateway()

    @gateway.prompt
    def trip(city: Annotated[str, Field(description="Where to")], by: str = "train") -> str:
        return f"{city} {by}"

    (listed,) = (await gateway.list_prompts.execute(ANN, ListQuery(), "mcp")).items
    described = [(one.name, one.description, one.required) for one in listed.arguments]
    assert described == [("city", "Where to", True), ("by", "", False)]


async def test_without_a_converter_openapi_is_refused_with_what_to_pass():
    with pytest.raises(InvalidInput, match=r"pass spec_kinds=\[OpenApiSpecKind\(\)\]"):
        Gateway().add_openapi("{}")


async def test_a_manifest_replaces_the_one_of_the_same_origin():
    gateway = with_rest()
    assert await gateway.add_manifest(manifest("ant"), origin="a") == []
    assert await gateway.add_manifest(manifest("bee"), origin="b") == []
    assert await gateway.add_manifest(manifest("cat"), origin="a") == []
    assert await names(gateway) == ["bee", "cat"]


async def test_a_bad_manifest_is_refused_with_its_field_and_changes_nothing():
    gateway = with_rest()
    await gateway.add_manifest(manifest("ant"), origin="a")
    with pytest.raises(InvalidInput, match=r"spec\.timeout"):
        await gateway.add_manifest(manifest("bee", timeout="soon"), origin="a")
    assert await names(gateway) == ["ant"]
    assert await gateway.add_manifest(manifest("cat"), origin="ab") == []


async def test_a_manifest_whose_tool_cannot_be_registered_is_refused():
    gateway = with_rest()
    await gateway.add_manifest(manifest("ant"), origin="a")
    with pytest.raises(InvalidInput, match="global/ant: a tool of this name is registered already"):
        await gateway.add_manifest(manifest("ant"), origin="b")
    with pytest.raises(InvalidInput, match="no back end for tools of kind rest"):
        await Gateway().add_manifest(manifest("ant"))


async def test_a_tool_set_without_a_converter_is_refused():
    tool_set = {
        "apiVersion": API,
        "kind": "ToolSet",
        "metadata": {"name": "s"},
        "spec": {"openAPISpec": {"inline": {}}},
    }
    with pytest.raises(InvalidInput, match="converter"):
        await with_rest().add_manifest(tool_set)


class Converter(SpecConverter):
    """Makes a tool of every description, named by where that was."""

    def __init__(self):
        self.seen = []

    def convert(self, document, options):
        self.seen.append(document)
        made = Tool.model_validate({"name": f"tool-{len(self.seen)}", "binding": REST})
        return Conversion((made,), ())


async def test_descriptions_come_from_the_source_and_go_to_the_converter_that_were_given():
    specs, converter = InMemorySpecSource(), Converter()
    specs.put("https://api.example/openapi.json", "{}")
    gateway = with_rest(specs=specs, spec_kinds=[DocumentSpecKind("openAPISpec", converter)])
    gateway.add_openapi("[]", location="here.json")
    tool_set = {"apiVersion": API, "kind": "ToolSet", "metadata": {"name": "s"}}
    spec = {"openAPISpec": {"url": "https://api.example/openapi.json"}, "baseURL": "https://api.example"}
    assert await gateway.add_manifest({**tool_set, "spec": spec}) == []
    assert converter.seen == [SpecDocument("here.json", "[]"), SpecDocument("https://api.example/openapi.json", "{}")]
    assert await names(gateway) == ["tool-1", "tool-2"]


async def test_lists_are_those_of_the_door_that_is_named():
    not_on_rest = Rule("not-on-rest", "deny", lambda query: query.door == "rest", "not there")
    store = InMemoryTaskStore(ManualClock())
    gateway = Gateway(policy=RulesPolicyEngine([*DEFAULT_RULES, not_on_rest]), tasks=store)
    assert gateway.tasks is store
    gateway.tool(lambda: 1, name="one")
    gateway.prompt(lambda: "hi", name="greet")
    for door, seen in (("rest", []), ("mcp", ["one"])):
        assert [one.name for one in (await gateway.tools(ANN, ListQuery(), door)).items] == seen
    assert [one.name for one in (await gateway.list_prompts.execute(ANN, ListQuery(), "mcp")).items] == ["greet"]


async def test_a_resource_is_called_like_its_function_and_has_completions_for_its_parameters_alone():
    gateway = Gateway()

    @gateway.resource("memo://{topic}")
    def memo(topic: str) -> str:
        return topic

    (listed,) = (await gateway.list_resources.execute(ANN, ListQuery(search="memo", templates=True), "mcp")).items
    assert (listed.uri, listed.name) == ("memo://{topic}", "memo")
    with pytest.raises(InvalidInput, match=r"^greet: completions for size, which is no parameter"):
        gateway.prompt(lambda name: name, name="greet", completions={"size": ["s"]})


async def test_every_part_can_be_replaced():
    clock, sink = ManualClock(), InMemoryMeteringSink()
    never = Rule("never", "deny", lambda query: query.operation.identifier == "no", "not this one")
    always = Rule("always", "allow", lambda query: True, "anybody")
    gateway = Gateway(
        clock=clock,
        ids=SequentialIds(),
        sink=sink,
        policy=RulesPolicyEngine([never, always]),
        verifier=InMemoryTokenVerifier({"t": ANN}, clock),
        anonymous=Principal(subject="guest"),
    )
    gateway.tool(lambda: "hi", name="yes")
    gateway.tool(lambda: "hi", name="no")
    assert await names(gateway, BearerToken("t")) == ["yes"]
    assert (await gateway.invoke("no", {}, BearerToken("t"))).status is Status.UNAUTHORIZED
    outcome = await gateway.invoke("yes", {}, None, consumer="cron", request_id="r-9")
    (denied, event) = sink.events()
    assert (denied.user_id, event.user_id, event.consumer, event.request_id) == ("ann", "guest", "cron", "r-9")
    assert event.event_id == "00000000-0000-7000-8000-000000000002"
    assert (event.timestamp, event.timestamp.tzinfo) == (clock.now(), UTC)
    assert outcome.event == event


async def test_the_defaults_refuse_strangers_and_floods():
    gateway = Gateway(clock=ManualClock())
    gateway.tool(lambda: "hi", name="hi")
    with pytest.raises(NotAuthenticated):
        await gateway.tools(None)
    outcomes = [await gateway.invoke("hi", {}, ANN) for _ in range(11)]
    assert [outcome.status for outcome in outcomes] == [Status.SUCCESS] * 10 + [Status.RATE_LIMITED]
    for _ in range(10 * REQUESTS_PER_CALL):
        await gateway.tools(ANN, ListQuery())
    with pytest.raises(QuotaExceeded):
        await gateway.tools(ANN, ListQuery())


def circle():
    inner = {}
    inner["a"] = inner
    return inner


def deep(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("arguments", [circle(), deep(100_000), {"a": 10**5000}, {"a": "\ud800"}, None, [1], "text"])
async def test_arguments_that_no_json_could_carry_are_refused_and_metered(arguments):
    sink = InMemoryMeteringSink()
    backend = ScriptedBackend([])
    backend.kind = "rest"
    gateway = Gateway(backends=[backend], sink=sink)
    endless = {"type": "object", "properties": {"a": {"$ref": "#"}}}
    gateway.add_tools(tool("f", input_schema=endless, binding=REST))
    assert isinstance((await gateway.invoke("f", arguments, ANN)).error, InvalidArguments)
    assert [event.status for event in sink.events()] == [Status.INVALID]
    assert backend.received == []


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), json_values(), max_size=3))
async def test_any_json_arguments_reach_the_back_end_as_they_are(arguments):
    backend = Rest([])
    gateway = Gateway(backends=[backend])
    gateway.add_tools(tool("f", input_schema={"type": "object"}, binding=REST))
    assert (await gateway.invoke("f", arguments, ANN)).status is Status.SUCCESS
    ((received, _),) = backend.received
    assert received is arguments


async def test_removed_operations_are_found_no_more_and_their_names_are_free_again():
    gateway = Gateway()

    @gateway.tool
    def count(n: int = 1) -> int:
        return n

    gateway.prompt(lambda topic: topic, name="greet", completions={"topic": lambda value, rest: ["weather"]})
    gateway.resource("memo://all", name="memo")(lambda: "all")
    changes: list[CatalogueDiff] = []
    gateway.registry.subscribe(changes.append)
    gateway.remove("count")
    gateway.remove("greet", kind="prompt")
    gateway.remove("memo://all", kind="resource")
    assert [diff.removed for diff in changes] == [
        (OperationKey(None, "count"),),
        (OperationKey(None, "greet", "prompt"),),
        (OperationKey(None, "memo://all", "resource"),),
    ]
    assert isinstance((await gateway.invoke("count", {}, ANN)).error, OperationNotFound)
    gateway.tool(lambda: "another", name="count")
    gateway.prompt(lambda topic: topic, name="greet")
    outcome = await gateway.invoke("count", {}, ANN)
    assert outcome.result is not None
    assert outcome.result.content == (TextContent("another"),)
    query = CompletionQuery(kind="prompt", name="greet", argument="topic", value="")
    assert (await gateway.complete_argument.execute(ANN, query, "library")).values == ()


async def test_removing_a_name_that_was_not_registered_removes_nothing():
    gateway = with_rest()
    gateway.tool(lambda: 1, name="one")
    gateway.tool(lambda: 2, name="one", tenant="acme")
    await gateway.add_manifest(manifest("ant"))
    unknown = [("two", "tool", None), ("one", "prompt", None), ("one", "tool", "beta"), ("ant", "tool", None)]
    for name, kind, tenant in unknown:
        with pytest.raises(OperationNotFound):
            gateway.remove("one", name, kind=kind, tenant=tenant)
    gateway.remove("one", tenant="acme")
    assert [str(key) for key in gateway.catalogue.tools] == ["global/one", "global/ant"]


async def test_removing_a_tool_lets_its_running_call_end_and_leaves_a_function_that_others_use():
    gateway, reached, go_on = Gateway(), asyncio.Event(), asyncio.Event()

    @gateway.tool
    async def slow() -> str:
        reached.set()
        await go_on.wait()
        return "done"

    gateway.add(Tool(name="alias", binding=LocalBinding(function="global/slow")))
    calling = asyncio.create_task(gateway.invoke("slow", {}, ANN))
    await reached.wait()
    gateway.remove("slow")
    go_on.set()
    assert (await calling).status is Status.SUCCESS
    gateway.add(tool("third", binding=LocalBinding(function="global/slow")))
    assert (await gateway.invoke("alias", {}, ANN)).status is Status.SUCCESS


async def test_a_manifest_that_is_removed_takes_its_operations_along():
    gateway = with_rest()
    for origin, name in (("a", "ant"), ("b", "bee")):
        await gateway.add_manifest(manifest(name), origin=origin)
    await gateway.remove_manifest("a")
    await gateway.remove_manifest("unknown")
    assert await names(gateway) == ["bee"]


async def test_findings_of_a_manifest_are_those_of_its_origin():
    class Odd(Converter):
        def convert(self, document, options):
            return Conversion(super().convert(document, options).tools, (warning(document.location, "odd"),))

    specs = InMemorySpecSource({"https://api.example/a": "{}", "https://api.example/b": "{}"})
    gateway = with_rest(specs=specs, spec_kinds=[DocumentSpecKind("openAPISpec", Odd())])

    def tool_set(name):
        spec = {"openAPISpec": {"url": f"https://api.example/{name}"}, "baseURL": "https://api.example"}
        return {"apiVersion": API, "kind": "ToolSet", "metadata": {"name": name}, "spec": spec}

    for name in ("a", "b"):
        (finding,) = await gateway.add_manifest(tool_set(name), origin=name)
        assert (finding.where, finding.origin) == (f"https://api.example/{name}", NamedOrigin(name))


async def test_closing_closes_every_back_end():
    backend = Rest([])
    closed: list[str] = []

    async def close() -> None:
        closed.append("rest")

    backend.close = close  # type: ignore[method-assign]
    gateway = Gateway(backends=[backend])
    gateway.tool(lambda: None, name="f")
    await gateway.close()
    assert closed == ["rest"]


async def test_a_defect_is_told_by_its_number_only(caplog):
    backend = Rest([])
    backend.behaviour = raises(KeyError("hunter2"))
    gateway = Gateway(backends=[backend], ids=SequentialIds())
    gateway.add_tools(tool("f", binding=REST))
    outcome = await gateway.invoke("f", {}, ANN)
    assert outcome.error is not None
    assert outcome.error.message == "Internal error; quote 00000000-0000-7000-8000-000000000001 when reporting it"


async def test_who_may_not_list_a_tool_does_not_learn_which_of_its_arguments_are_repeated_in_headers():
    gateway = Gateway(backends=[ScriptedBackend([])])
    routed = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    gateway.add_tools(
        tool("theirs", tenant="beta", input_schema=routed), tool("mine", input_schema=routed), tool("plain"),
        tool("admins", input_schema=routed, tags=("stoa:admin",)),
    )  # fmt: skip

    async def headers(name, tenant=None, caller=ANN):
        return [one.header for one in (await gateway.routed_arguments(caller, tenant, name, "mcp", {}))[0]]

    assert await headers("mine") == await headers("mine", "acme") == ["Region"]
    for name, tenant in (("theirs", None), ("theirs", "beta"), ("plain", None), ("none", None), ("admins", None)):
        assert await headers(name, tenant) == [], name
    root = Principal.of("root", roles=["cpi-admin"])
    assert await headers("theirs", "beta", root) == await headers("admins", "acme", root) == ["Region"]


async def test_for_a_tool_without_such_arguments_the_policy_is_not_asked_before_the_call():
    class Unasked(RulesPolicyEngine):
        async def visible(self, principal, tools, door):
            raise AssertionError("asked")

    gateway = Gateway(policy=Unasked())
    gateway.tool(lambda: 1, name="plain")
    assert await gateway.routed_arguments(ANN, None, "plain", "mcp", {}) == ((), {})
