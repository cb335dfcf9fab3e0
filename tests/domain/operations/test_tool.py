"""Tools: the access they need, and fingerprints that follow every change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.strategies import annotations, tags, tools

from stoa.domain.operations.tool import Access, LocalBinding, RestBinding, TokenGrant, Tool, ToolAnnotations, ToolKey


def tool(**fields):
    return Tool(**{"name": "ant", "binding": LocalBinding(function="f"), **fields})


@given(annotations, tags)
def test_the_strictest_tag_decides_the_access_and_without_one_the_annotations(hints, some_tags):
    access = tool(annotations=hints, tags=some_tags).access
    tagged = [one for one in (Access.ADMIN, Access.WRITE, Access.READ) if one.value in some_tags]
    if tagged:
        assert access == tagged[0]
    elif hints.destructive_hint:
        assert access == Access.ADMIN
    elif hints.read_only_hint is False:
        assert access == Access.WRITE
    else:
        assert access == Access.READ


@pytest.mark.parametrize(
    ("hints", "access", "is_premium"),
    [
        ({}, "stoa:read", False),
        ({"read_only_hint": True}, "stoa:read", False),
        ({"read_only_hint": False}, "stoa:write", False),
        ({"destructive_hint": True}, "stoa:admin", True),
        ({"read_only_hint": True, "destructive_hint": True}, "stoa:admin", True),
        ({"read_only_hint": False, "destructive_hint": False}, "stoa:write", False),
    ],
)
def test_annotations_decide_access_and_price(hints, access, is_premium):
    described = tool(annotations=ToolAnnotations(**hints))
    assert described.access.value == access
    assert described.is_premium is is_premium


SAFE, METHODS = {"GET", "HEAD", "OPTIONS"}, ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]


def over_http(method, **fields):
    return tool(binding=RestBinding(method=method, base_url="http://a.example", path="/"), **fields)


@pytest.mark.parametrize(
    ("method", "access", "read_only", "destructive", "idempotent"),
    [
        ("GET", "stoa:read", True, False, None),
        ("HEAD", "stoa:read", True, False, None),
        ("OPTIONS", "stoa:read", True, False, None),
        ("POST", "stoa:write", False, None, None),
        ("PUT", "stoa:write", False, None, True),
        ("PATCH", "stoa:write", False, None, None),
        ("DELETE", "stoa:admin", False, True, True),
    ],
)
@pytest.mark.parametrize("tenant", [None, "acme"])
def test_a_method_decides_access_and_hints_where_nothing_is_said(
    tenant, method, access, read_only, destructive, idempotent
):
    made = over_http(method, tenant=tenant)
    assert (made.access.value, made.method_access.value, made.lowered_by) == (access, access, None)
    assert made.hints == ToolAnnotations(
        read_only_hint=read_only, destructive_hint=destructive, idempotent_hint=idempotent, open_world_hint=True
    )


@given(st.sampled_from(METHODS), annotations, tags)
def test_a_tenants_tags_and_hints_raise_what_a_method_needs_and_never_lower_it(method, hints, some_tags):
    own = over_http(method, tenant="acme", annotations=hints, tags=some_tags)
    bare = over_http(method, tenant="acme")
    order = [Access.READ, Access.WRITE, Access.ADMIN]
    assert order.index(own.access) >= order.index(bare.access)
    assert own.lowered_by is None
    assert not (own.hints.read_only_hint and method not in SAFE)
    assert own.hints.destructive_hint or method != "DELETE"
    assert own.is_premium or method != "DELETE"
    for tagged in order:
        if tagged.value in some_tags:
            assert order.index(own.access) >= order.index(tagged)


@given(st.sampled_from(METHODS), annotations, tags)
def test_the_platforms_word_lowers_what_a_method_needs_and_is_told(method, hints, some_tags):
    common = over_http(method, annotations=hints, tags=some_tags)
    allowed = over_http(method, tenant="acme", annotations=hints, tags=some_tags, may_lower_access=True)
    assert (common.access, common.hints) == (allowed.access, allowed.hints)
    is_lower = [*Access].index(common.access) < [*Access].index(common.method_access)
    assert (common.lowered_by == "the platform") == is_lower
    assert (allowed.lowered_by == "tenant acme, as the platform allows") == is_lower


@pytest.mark.parametrize(
    ("method", "said", "read_only", "destructive", "access"),
    [
        ("POST", {"read_only_hint": True}, True, False, "stoa:read"),
        ("DELETE", {"read_only_hint": True}, True, False, "stoa:read"),
        ("DELETE", {"destructive_hint": False}, False, False, "stoa:write"),
        ("GET", {"read_only_hint": False}, False, None, "stoa:write"),
        ("GET", {"destructive_hint": True}, False, True, "stoa:admin"),
        ("POST", {"destructive_hint": True}, False, True, "stoa:admin"),
        ("POST", {"destructive_hint": False}, False, False, "stoa:write"),
    ],
)
def test_hints_that_are_not_said_follow_from_those_that_are(method, said, read_only, destructive, access):
    made = over_http(method, annotations=ToolAnnotations(**said))
    assert (made.hints.read_only_hint, made.hints.destructive_hint) == (read_only, destructive)
    assert made.access.value == access


@given(tools(), tools())
def test_equal_fingerprints_mean_equal_tools(one, other):
    assert one.fingerprint == Tool.model_validate(one.model_dump()).fingerprint
    if one.fingerprint == other.fingerprint:
        assert one == other
    if one != other:
        assert one.fingerprint != other.fingerprint


@given(tools())
def test_a_changed_copy_has_a_fingerprint_and_an_access_of_its_own(original):
    _ = original.fingerprint, original.access
    hints = ToolAnnotations(destructive_hint=not original.annotations.destructive_hint)
    copy = original.model_copy(update={"annotations": hints, "tags": ()})
    assert copy.fingerprint == Tool.model_validate(copy.model_dump()).fingerprint
    assert copy.fingerprint != original.fingerprint
    fresh = Tool.model_validate(copy.model_dump())
    assert (copy.access, copy.hints) == (fresh.access, fresh.hints)


def circle():
    inner = {}
    inner["self"] = inner
    return inner


def deep(levels):
    return {"a": deep(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    "field",
    [
        {"description": "\ud800"},
        {"input_schema": {"type": "object", "title": "\ud800"}},
        {"input_schema": {"type": "object", "x": circle()}},
        {"output_schema": {"type": "object", "x": deep(300)}},
        {"name": ""},
        {"name": "a b"},
        {"name": "x" * 129},
        {"tenant": "Acme"},
        {"timeout_seconds": 0},
        {"timeout_seconds": 301},
        {"timeout_seconds": float("nan")},
        {"colour": "red"},
        {"authentication": {"type": "bearer", "secret": {"name": "../other/secret"}}},
    ],
)
def test_what_can_be_neither_listed_nor_called_is_no_tool(field):
    with pytest.raises(ValidationError):
        tool(**field)


def test_a_key_shows_tenant_and_name():
    assert tool(tenant="acme").key == ToolKey("acme", "ant")
    assert str(tool(tenant="acme").key) == "acme/ant"
    assert str(tool().key) == "global/ant"


def test_a_tool_is_portable_to_every_client_and_unchanged_where_it_is_so_already():
    plain = {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert tool(input_schema=plain).portable_input_schema is tool(input_schema=plain).input_schema or (
        tool(input_schema=plain).portable_input_schema == plain
    )
    made = tool(input_schema={"type": "object", "properties": {"n": {"const": "a"}}}).portable_input_schema
    assert made == {"type": "object", "properties": {"n": {"type": "string", "enum": ["a"]}}}


def test_a_premium_tool_is_one_that_destroys():
    assert [tool(annotations=ToolAnnotations(destructive_hint=hint)).is_premium for hint in (None, False, True)] == [
        False, False, True,
    ]  # fmt: skip


def test_a_token_in_the_callers_name_is_for_one_back_end():
    url = "https://issuer.example/token"
    with pytest.raises(ValidationError, match="tokenExchange needs audience"):
        TokenGrant(type="tokenExchange", token_url=url)
    assert TokenGrant(type="tokenExchange", token_url=url, audience="crm").audience == "crm"
    assert TokenGrant(type="clientCredentials", token_url=url).audience is None
