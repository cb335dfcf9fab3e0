"""A Tool: an action that an agent may call."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, StringConstraints

from stoa.domain.operations.access import Access, MethodProperties
from stoa.domain.operations.answer_rules import AnswerRules
from stoa.domain.operations.argument_changes import ArgumentChanges
from stoa.domain.operations.binding import (
    Audience,
    Authentication,
    Binding,
    FormField,
    GrantType,
    LocalBinding,
    OAuthScope,
    RestBinding,
    RestBody,
    RestParameter,
    SecretKey,
    SecretName,
    SecretReference,
    TokenGrant,
    TokenUrl,
    XmlElement,
)
from stoa.domain.operations.operation import (
    ApiReference,
    Fingerprint,
    Kind,
    Operation,
    OperationKey,
    TimeoutSeconds,
)
from stoa.domain.schema.json_value import JsonObject
from stoa.domain.schema.plain_text import PlainSchema
from stoa.domain.schema.portable_schema import SIZE_LIMIT, portable
from stoa.domain.schema.shared_levels import SharedLevels
from stoa.domain.value import Strict

__all__ = [  # with the parts that a Tool is made of, for code that makes tools
    "Access",
    "AnswerRules",
    "ApiReference",
    "Audience",
    "Authentication",
    "Binding",
    "Fingerprint",
    "FormField",
    "GrantType",
    "LocalBinding",
    "OAuthScope",
    "RestBinding",
    "RestBody",
    "RestParameter",
    "SecretKey",
    "SecretName",
    "SecretReference",
    "TaskSupport",
    "TimeoutSeconds",
    "TokenGrant",
    "TokenUrl",
    "Tool",
    "ToolAnnotations",
    "ToolKey",
    "ToolName",
    "Validation",
    "XmlElement",
]

ToolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
"""MCP 2025-11-25 "Tool names". Generated names are stricter: see `stoa.domain.operations.naming`."""

ToolKey = OperationKey
"""A key whose kind is "tool", which is the default."""


TaskSupport = Literal["never", "optional", "required", "explicit"]
"""Support for running calls in the background, for clients that declare MCP's extension for tasks.

`optional`: calls run as tasks for such clients, and directly for others. `required`: clients of the stateless era must
declare the extension. `explicit`: the back end decides when, so that it can make client requests first. A Python
function says it by `Context.continue_as_task`, a REST tool by an answer that has only accepted the work (202). Doors
without tasks run every call while its caller waits.
"""


Validation = Literal["strict", "lenient", "off"]
"""Strictness of the check of a tool's arguments against its input schema.

`strict`: all of it. `lenient`: arguments may have members that it does not declare, for tools whose description lags
behind the API. `off`: the arguments that are required, and their types.
"""


class ToolAnnotations(Strict):
    """MCP tool annotations; None means "not said", which clients read as the protocol's default."""

    read_only_hint: bool | None = None
    destructive_hint: bool | None = None
    idempotent_hint: bool | None = None
    open_world_hint: bool | None = None

    def under(self, method: MethodProperties, *, may_lower: bool) -> "ToolAnnotations":
        """These hints, completed with those that `method` implies. A writing method leaves open whether it destroys.
        Without `may_lower`, hints that promise more than the method does are ignored."""
        read_only, destructive = self.read_only_hint, self.destructive_hint
        needed = method.access
        if not may_lower:
            read_only = None if needed is not Access.READ else read_only
            destructive = destructive or (None if needed is Access.ADMIN else destructive)
        if read_only is None:
            read_only = needed is Access.READ and not destructive
        if destructive is None:
            destructive = False if read_only else True if needed is Access.ADMIN else None
        return ToolAnnotations(
            read_only_hint=read_only,
            destructive_hint=destructive,
            idempotent_hint=method.is_idempotent if self.idempotent_hint is None else self.idempotent_hint,
            open_world_hint=True if self.open_world_hint is None else self.open_world_hint,
        )


class Tool(Operation):
    """One callable tool."""

    kind: ClassVar[Kind] = "tool"

    name: ToolName
    output_schema: PlainSchema | None = None
    annotations: ToolAnnotations = ToolAnnotations()
    """Annotations as the author wrote them; `hints` are the effective ones."""
    tasks: TaskSupport = "never"
    argument_changes: ArgumentChanges | None = None
    """None: callers set all arguments of the back end, under its names."""
    earlier_names: tuple[ToolName, ...] = ()
    """Names that an earlier version of the converter gave it. Calls by them still find it; lists do not show them."""
    validation: Validation = "strict"
    schema_size: Annotated[int, Field(ge=0)] | None = None
    """Bytes of the portable form of the input schema, for a token budget; None: the usual ones."""
    answer: AnswerRules = AnswerRules()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        copy = super().model_copy(update=update, deep=deep)
        made = vars(self).get("portable_input_schema")
        if made is not None and copy.input_schema is self.input_schema and copy.schema_size == self.schema_size:
            vars(copy)["portable_input_schema"] = made  # it took a third of the tool's registration
        return copy

    @cached_property
    def identifier(self) -> str:
        return self.name

    @cached_property
    def portable_input_schema(self) -> JsonObject:
        """The input schema in the form that every client understands; the same object if it has that form already."""
        return portable(self.input_schema, SIZE_LIMIT if self.schema_size is None else self.schema_size)

    def make_portable(self, levels: SharedLevels) -> None:
        """Make the portable form now, which is remembered. `levels`: shared with other tools of the same API."""
        size = SIZE_LIMIT if self.schema_size is None else self.schema_size
        vars(self).setdefault("portable_input_schema", portable(self.input_schema, size, levels))

    @cached_property
    def hints(self) -> ToolAnnotations:
        """The effective annotations, which clients, policies and prices see: completed with the facts of the binding's
        protocol, where it has any."""
        method = self.binding.method_properties
        return self.annotations if method is None else self.annotations.under(method, may_lower=self.is_trusted)

    @property
    def said_access(self) -> Access:
        """The strictest of the `stoa:*` tags; without one, the scope that the hints imply.

        A destructive tool needs admin, one that is not read-only needs write, any other (including a function without
        hints) needs read.
        """
        if self.access_by_tag is not None:
            return self.access_by_tag
        if self.hints.destructive_hint:
            return Access.ADMIN
        return Access.WRITE if self.hints.read_only_hint is False else Access.READ

    @property
    def is_premium(self) -> bool:
        """Destructive tools cost a double base price."""
        return bool(self.hints.destructive_hint)
