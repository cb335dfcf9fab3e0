"""Changes between two versions of the tools of one API, as their callers meet them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from stoa.domain.operations.operation import Fingerprint
from stoa.domain.operations.tool import RestBinding, Tool
from stoa.domain.schema.json_value import JsonObject, as_object
from stoa.domain.schema.schema_subset import is_within, without_notes

ChangeKind = Literal["added", "removed", "compatible", "widening", "breaking", "descriptionOnly"]
"""`compatible`: the tool takes the same arguments, and its answer has all that it had. `widening`: it takes more.
`breaking`: it is called elsewhere, refuses what it took, or its answer lacks what it had; also where nothing shows that
it does not. `descriptionOnly`: words changed. None of them says that the API behind behaves as before."""


@dataclass(frozen=True, slots=True)
class ToolChange:
    """One changed tool."""

    kind: ChangeKind
    tool: str
    """Its name, the newer one if it has two."""
    why: str
    """The reasons for a breaking change, all of them; else a word about it."""
    before: Fingerprint | None
    after: Fingerprint | None


def tool_changes(before: Iterable[Tool], after: Iterable[Tool]) -> tuple[ToolChange, ...]:
    """The changes in the order of the newer tools, then those removed. A tool is the same if it has the name that it
    had, or else calls the operation that it called."""
    newer = list(after)
    names = {tool.name for tool in newer}
    by_name = {tool.name: tool for tool in before}
    by_operation = {_operation(tool): tool for tool in by_name.values() if tool.name not in names}
    changes: list[ToolChange] = []
    for tool in newer:
        earlier = by_name.pop(tool.name, None)
        if earlier is None and (moved := by_operation.pop(_operation(tool), None)) is not None:
            earlier = by_name.pop(moved.name, None)
        if earlier is None:
            changes.append(ToolChange("added", tool.name, "a new operation", None, tool.fingerprint))
        elif earlier.fingerprint != tool.fingerprint:
            kind, why = _compared(earlier, tool)
            changes.append(ToolChange(kind, tool.name, why, earlier.fingerprint, tool.fingerprint))
    changes += [
        ToolChange("removed", tool.name, "the operation is gone", tool.fingerprint, None) for tool in by_name.values()
    ]
    return tuple(changes)


def _operation(tool: Tool) -> tuple[str, ...]:
    binding = tool.binding
    return (binding.method, binding.path) if isinstance(binding, RestBinding) else (tool.name,)


def _compared(old: Tool, new: Tool) -> tuple[ChangeKind, str]:
    """The kind of the change, and the reasons for it."""
    breaking = "; ".join(_breaking(old, new))
    if breaking:
        return "breaking", breaking
    old_input, new_input = without_notes(old.input_schema), without_notes(new.input_schema)
    if old_input != new_input and not is_within(new.input_schema, old.input_schema):
        added = ", ".join(sorted(_members(new) - _members(old)))
        return "widening", f"it takes {added} too" if added else "it takes more values"
    words = {
        "title",
        "description",
        "icons",
        "tags",
        "version",
        "api",
        "earlier_names",
        "schema_size",
        "input_schema",
        "output_schema",
    }
    has_same_rest = all(
        getattr(old, name) == getattr(new, name) for name in type(new).model_fields if name not in words
    )
    if old_input == new_input and has_same_rest and _output(old) == _output(new):
        return "descriptionOnly", "its words changed"
    return "compatible", "its answer or its call changed within what callers rely on"


def _breaking(old: Tool, new: Tool) -> Iterator[str]:
    if old.name != new.name and old.name not in new.earlier_names:
        yield f"it was called {old.name}"
    if old.binding.origins != new.binding.origins:
        yield "it is called at another server"
    if _operation(old) != _operation(new):
        yield "it calls another operation"
    needed = set(new.input_schema.get("required", ())) - set(old.input_schema.get("required", ()))
    if needed:
        yield f"it needs {', '.join(sorted(needed))} now"
    lost = _members(old) - _members(new)
    if lost:
        yield f"it takes {', '.join(sorted(lost))} no longer"
    narrowed = _narrowed(old, new)
    if narrowed:
        yield f"it may refuse values that {', '.join(narrowed)} took"
    elif not needed and not lost and not is_within(old.input_schema, new.input_schema):
        yield "it may refuse arguments that it took"
    if old.output_schema is not None and new.output_schema is None:
        yield "its answer has no schema any more"
    if old.output_schema is not None and new.output_schema is not None and not _keeps(old, new):
        yield "its answer may lack or change what it had"
    if old.access is not new.access:
        yield f"it needs {new.access.value} instead of {old.access.value}"


def _members(tool: Tool) -> set[str]:
    return set(as_object(tool.input_schema.get("properties")))


def _narrowed(old: Tool, new: Tool) -> list[str]:
    """The arguments whose newer schema is not shown to accept all that the older did."""
    return [
        name for name in sorted(_members(old) & _members(new)) if not is_within(_alone(old, name), _alone(new, name))
    ]


def _alone(tool: Tool, name: str) -> JsonObject:
    """The schema of objects of which only one member is looked at."""
    member = as_object(tool.input_schema.get("properties"))[name]
    return {"properties": {name: member}, "$defs": as_object(tool.input_schema.get("$defs"))}


def _output(tool: Tool) -> object:
    return None if tool.output_schema is None else without_notes(tool.output_schema)


def _keeps(old: Tool, new: Tool) -> bool:
    """True if the newer answer has every member that the older had, of no further types."""
    lost = set(as_object(as_object(old.output_schema).get("properties"))) - set(
        as_object(as_object(new.output_schema).get("properties"))
    )
    return not lost and is_within(as_object(new.output_schema), as_object(old.output_schema))
