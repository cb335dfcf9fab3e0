"""A registry that replaces only what changed comes to the same as one that makes everything anew."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.application.pipeline import ScriptedBackend, tool
from tests.strategies import few_names, few_tenants, local_bindings, tools

from stoa.application.catalogue.operation_registry import OperationRegistry
from stoa.domain.operations.operation import Operation, OperationKey
from stoa.domain.operations.tool import Tool

_edits = st.fixed_dictionaries(
    {},
    optional={
        "description": st.sampled_from(["one", "two"]),
        "enabled": st.booleans(),
        "is_by_tenant": st.booleans(),
        "tasks": st.sampled_from(["never", "optional"]),
        "name": few_names,
        "tenant": few_tenants,
        "input_schema": st.sampled_from(
            [
                {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a|b)+$"}}},
                {"type": "object", "properties": {"a": {"type": "string", "x-mcp-header": "Region"}}},
                {"type": "nonsense"},
            ]
        ),
    },
)
"""Changes of one tool, some of which are no tool any more, or contest another."""


def _registry() -> OperationRegistry:
    return OperationRegistry([ScriptedBackend([])])


@settings(deadline=None)
@given(
    st.lists(tools(binding=local_bindings), min_size=1, max_size=6),
    st.lists(st.dictionaries(st.integers(0, 5), _edits, max_size=3), max_size=5),
)
def test_changed_tools_lead_to_the_catalogue_that_is_made_of_all(operations: list[Tool], edits: list[dict[int, dict]]):
    edited, given_now = _registry(), list(operations)
    edited.replace(given_now)
    for edit in edits:
        for place, update in edit.items():
            if place < len(given_now):
                given_now[place] = given_now[place].model_copy(update=update)
        findings = edited.replace(given_now)
        anew = _registry()
        assert findings == anew.replace(given_now)
        assert edited.catalogue == anew.catalogue
        assert (edited.has_routed, edited.has_tasks) == (anew.has_routed, anew.has_tasks)
        for key in edited.catalogue.operations:
            _assert_is_found_alike(edited, anew, key)


def _assert_is_found_alike(one: OperationRegistry, other: OperationRegistry, key: OperationKey) -> None:
    found, expected = one.find(key.tenant, key.name), other.find(key.tenant, key.name)
    assert found is not None
    assert expected is not None
    assert found.operation.fingerprint == expected.operation.fingerprint
    assert one.has_routed_arguments(key.tenant, key.name) == other.has_routed_arguments(key.tenant, key.name)
    assert one.may_become_task(key.tenant, key.name) == other.may_become_task(key.tenant, key.name)
    assert one.catalogue.view(key.tenant) == other.catalogue.view(key.tenant)


def test_changed_tool_alone_is_compiled_and_told():
    held, told = _registry(), []
    many: list[Operation] = [tool(f"t{number}") for number in range(50)]
    held.replace(many)
    held.subscribe(told.append)
    before = {key: held.compiled(key) for key in held.catalogue.operations}
    many[7] = many[7].model_copy(update={"description": "another"})
    held.replace(many)
    (diff,) = told
    assert (diff.added, diff.changed, diff.removed) == ((), (many[7],), ())
    assert {key.name for key, compiled in before.items() if held.compiled(key) is not compiled} == {"t7"}


def test_patterns_that_edits_bring_one_after_the_other_do_not_use_up_the_owners_room():
    held = _registry()
    held.replace([tool("t")])
    for number in range(300):
        schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": f"^[a-z]{{1,{number + 50}}}$"}}}
        assert held.replace([tool("t", input_schema=schema)]) == []


def test_changed_tools_are_told_from_those_that_were_added_since():
    registry = OperationRegistry([ScriptedBackend([])])
    registry.replace([])
    assert registry.add([tool("added")]) == []
    registry.replace([])
    assert not registry.catalogue.tools
