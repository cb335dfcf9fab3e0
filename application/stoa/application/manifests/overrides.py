"""`spec.overrides` of a ToolSet: changes to the tools of single operations, whatever their description is."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

import pydantic
from pydantic import ConfigDict, Field, model_validator

from stoa.application.manifests.answers import NO_ANSWER, AnswerManifest, with_answer_rules
from stoa.application.manifests.fields import AnnotationsManifest, RateLimitManifest, Timeout
from stoa.application.ports.manifest_parts import ManifestModel, SecretRefManifest, rules
from stoa.application.schemas.argument_schema import ArgumentSchema
from stoa.domain.errors import InvalidArguments, InvalidInput
from stoa.domain.finding import Finding, error, warning
from stoa.domain.operations.argument_changes import (
    ArgumentChanges,
    Fixed,
    FixedByPrincipal,
    FixedBySecret,
    FixedValue,
    PrincipalFact,
)
from stoa.domain.operations.tool import RestBinding, Tool, ToolName
from stoa.domain.schema.json_value import JsonObject, as_array, as_object

_ANY_JSON: JsonObject = {"x-kubernetes-preserve-unknown-fields": True}
_ONE_SOURCE = "set at most one of value, fromPrincipal, secretRef and hidden"
_OF_SHOWN = "name, description and default are for an argument that is shown"
ArgumentName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class ArgumentOverrideManifest(ManifestModel):
    """Changes to one argument."""

    model_config = ConfigDict(  # `value` and `default` may be of any type, so no rule of an API server sees them
        json_schema_extra=rules(
            (
                (
                    "(has(self.fromPrincipal) ? 1 : 0) + (has(self.secretRef) ? 1 : 0)"
                    " + (has(self.hidden) && self.hidden ? 1 : 0) <= 1"
                ),
                _ONE_SOURCE,
            )
        )
    )

    name: ArgumentName | None = None
    """Name that callers use instead."""
    description: str | None = None
    """Replaces its description."""
    default: Any = Field(default=None, json_schema_extra=_ANY_JSON)
    """Value that is sent where the caller gives none."""
    value: Any = Field(default=None, json_schema_extra=_ANY_JSON)
    """Constant that is always sent; callers neither see nor set the argument."""
    from_principal: PrincipalFact | None = None
    """Fact of the caller that is always sent."""
    secret_ref: SecretRefManifest | None = None
    """Secret that is always sent; its entry is `value` if no key is named."""
    hidden: bool = False
    """The argument is neither shown nor sent."""

    @property
    def fixed(self) -> Fixed | None:
        """The value that callers do not set; None: they set it, or it is hidden."""
        if self.secret_ref is not None:
            return FixedBySecret(secret=self.secret_ref.to_domain())
        if self.from_principal is not None:
            return FixedByPrincipal(fact=self.from_principal)
        return FixedValue(value=self.value) if "value" in self.model_fields_set else None

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        sources = ["value" in self.model_fields_set, self.from_principal, self.secret_ref, self.hidden]
        if sum(map(bool, sources)) > 1:
            raise ValueError(_ONE_SOURCE)
        shown = self.model_fields_set & {"name", "description", "default"}
        if any(sources) and shown:
            raise ValueError(_OF_SHOWN)
        return self


class OverrideManifest(ManifestModel):
    """Changes to the tool of one operation."""

    operation: str = Field(min_length=1, max_length=512)
    """The operation: its id in the description, `METHOD /path`, or the name that its tool would have."""
    name: ToolName | None = None
    """Name of the tool."""
    display_name: str | None = None
    """Title for people."""
    description: str | None = None
    """Description of the tool."""
    arguments: dict[str, ArgumentOverrideManifest] = Field(default={}, json_schema_extra={"maxProperties": 100})
    """Changes to its arguments, by the names that they would have."""
    annotations: AnnotationsManifest = AnnotationsManifest()
    """Hints of MCP; absent ones stay as they are."""
    tags: tuple[str, ...] = ()
    """Further tags."""
    timeout: Timeout | None = None
    """Time for one call."""
    rate_limit: RateLimitManifest | None = None
    """Limit of the tool, counted per calling tenant."""
    answer: AnswerManifest = NO_ANSWER
    """Rules for its answers; toolDefaults gives the fields that are not written."""
    enabled: bool = True
    """false leaves the tool out."""

    def is_of(self, tool: Tool) -> bool:
        """True if the operation is that of the tool."""
        binding = tool.binding
        place = f"{binding.method} {binding.path}" if isinstance(binding, RestBinding) else None
        identifier = None if tool.api is None else tool.api.operation_id
        return self.operation in {tool.name, identifier, place, *tool.earlier_names}

    def applied(self, tool: Tool) -> Tool:
        """The changed tool. Raises InvalidInput, naming the field."""
        schema, changes, names = _changed_arguments(tool.input_schema, self.arguments)
        hints = {name: hint for name, hint in self.annotations.to_domain() if hint is not None}
        changed: JsonObject = {
            "title": self.display_name or self.annotations.title or tool.title,
            "description": tool.description if self.description is None else self.description,
            "input_schema": schema,
            "argument_changes": changes,
            "annotations": tool.annotations.model_copy(update=hints),
            "tags": tuple(dict.fromkeys([*tool.tags, *self.tags])),
            "timeout_seconds": tool.timeout_seconds if self.timeout is None else self.timeout,
            "rate_limit": tool.rate_limit if self.rate_limit is None else self.rate_limit.to_domain(),
            "metered_arguments": tuple(names[name] for name in tool.metered_arguments if name in names),
            "enabled": self.enabled,
        }
        if self.name is not None:
            changed |= {"name": self.name, "earlier_names": ()}
        try:
            return Tool.model_validate({**{name: getattr(tool, name) for name in Tool.model_fields}, **changed})
        except pydantic.ValidationError as refused:
            raise InvalidInput(str(refused.errors()[0]["msg"])) from refused


def overridden(
    tools: Iterable[Tool], overrides: Sequence[OverrideManifest], answer: AnswerManifest = NO_ANSWER
) -> Iterator[Tool | Finding]:
    """The tools with the changes of their author, or why one is left out: a tool without a change that was meant to
    hide something must not be offered. `answer`: the rules for the answers of all. A warning for each override of no
    tool."""
    rules = answer.over(NO_ANSWER)
    unused = {override.operation for override in overrides}
    for tool in tools:
        override = next((each for each in overrides if each.is_of(tool)), None)
        if override is None:
            yield with_answer_rules(tool, rules)
            continue
        unused.discard(override.operation)
        try:
            yield with_answer_rules(override.applied(tool), override.answer.over(answer))
        except InvalidInput as refused:
            yield error(str(tool.key), f"left out: spec.overrides, operation {override.operation}: {refused.message}")
    for operation in sorted(unused):
        yield warning("spec.overrides", f"no tool is of the operation {operation!r}")


def _changed_arguments(
    schema: JsonObject, overrides: Mapping[str, ArgumentOverrideManifest]
) -> tuple[JsonObject, ArgumentChanges | None, dict[str, str]]:
    """The schema that is shown, the changes to undo for the back end, and the shown names by those before."""
    properties, required = as_object(schema.get("properties")), as_array(schema.get("required"))
    names = {name: name for name in properties}
    if not overrides:
        return schema, None, names
    shown = dict(properties)
    needed = list(required)
    changes = ArgumentChanges()
    fixed, defaults, renamed = dict(changes.fixed), dict(changes.defaults), dict(changes.names)
    for name, override in overrides.items():
        field = f"arguments.{name}"
        if name not in properties:
            raise InvalidInput(f"{field}: there is no such argument; there are {', '.join(list(properties)[:20])}")
        member = as_object(properties[name])
        if override.fixed is not None or override.hidden:
            if override.fixed is None and name in required:
                raise InvalidInput(f"{field}: the operation needs it, so it cannot be hidden; give it a value")
            if isinstance(override.fixed, FixedValue):
                _check(schema, name, override.fixed.value, f"{field}.value")
            if override.fixed is not None:
                fixed[name] = override.fixed
            del shown[name], names[name]
            needed = [each for each in needed if each != name]
            continue
        called = override.name or name
        if called != name:
            renamed[called] = name
            names[name] = called
        if "default" in override.model_fields_set:
            _check(schema, name, override.default, f"{field}.default")
            defaults[called] = override.default
            member = {**member, "default": override.default}
            needed = [each for each in needed if each != name]
        shown[name] = member if override.description is None else {**member, "description": override.description}
    if len(set(names.values())) < len(names):
        raise InvalidInput("arguments: two of them would have the same name")
    changed = {**schema, "properties": {names[name]: member for name, member in shown.items()}}
    changed["required"] = [names[name] for name in needed if name in names]
    if not changed["required"]:
        del changed["required"]
    hidden = tuple(name for name, override in overrides.items() if override.hidden)
    return changed, ArgumentChanges(names=renamed, defaults=defaults, fixed=fixed, hidden=hidden), names


def _check(schema: JsonObject, name: str, value: Any, field: str) -> None:
    """Raises InvalidInput where the value does not fit the argument's schema."""
    alone = {**schema, "properties": {name: as_object(schema.get("properties"))[name]}, "required": [name]}
    try:
        ArgumentSchema(alone).check({name: value})
    except InvalidArguments as refused:
        raise InvalidInput(f"{field}: {refused.message}") from refused
