"""A Tool: what an agent may call to have something done."""

from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import StringConstraints

from stoa.domain.operations.access import Access, MethodProperties
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
from stoa.domain.schema.portable_schema import portable
from stoa.domain.value import Strict

__all__ = [  # with the parts that a Tool is made of, for whoever makes one
    "Access",
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
]

ToolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
"""MCP 2025-11-25 "Tool names". Generated names are stricter: see `stoa.domain.operations.naming`."""

ToolKey = OperationKey
"""A key whose kind is "tool", which is the default."""


TaskSupport = Literal["never", "optional", "required", "explicit"]
"""May a call go on in the background, for clients that declare MCP's extension for tasks?

`optional`: it does, and for other clients it does not. `required`: clients of the stateless era must declare it.
`explicit`: a Python function says when (`Context.continue_as_task`), so that it can ask questions before. Doors without
tasks run the call while its caller waits, whatever stands here.
"""


class ToolAnnotations(Strict):
    """MCP tool annotations; None means "not said", which clients read as the protocol's default."""

    read_only_hint: bool | None = None
    destructive_hint: bool | None = None
    idempotent_hint: bool | None = None
    open_world_hint: bool | None = None

    def under(self, method: MethodProperties, *, may_lower: bool) -> "ToolAnnotations":
        """These hints with what `method` implies where nothing is said; what a method that writes destroys is not
        known. Unless they `may_lower`, hints that promise more than the method does are not taken.
        """
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
    """What its author says; `hints` is what counts."""
    tasks: TaskSupport = "never"

    @cached_property
    def identifier(self) -> str:
        return self.name

    @cached_property
    def portable_input_schema(self) -> JsonObject:
        """The input schema as every client understands it; the same object where it is so already."""
        return portable(self.input_schema)

    @cached_property
    def hints(self) -> ToolAnnotations:
        """The annotations as clients, policies and prices see them: those of a protocol whose
        methods have properties follow these."""
        method = self.binding.method_properties
        return self.annotations if method is None else self.annotations.under(method, may_lower=self.is_trusted)

    @property
    def said_access(self) -> Access:
        """What a `stoa:*` tag says, of several the strictest; else what the hints imply.

        Destructive needs admin, not read-only needs write, anything else (also a function that says nothing of
        itself) needs read.
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
