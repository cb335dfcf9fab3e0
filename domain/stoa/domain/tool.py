"""A Tool: what an agent may call to have something done."""

from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import StringConstraints

from stoa.domain.binding import (
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
from stoa.domain.json_value import JsonObject
from stoa.domain.operation import (
    Access,
    ApiReference,
    Fingerprint,
    Kind,
    Operation,
    OperationKey,
    TimeoutSeconds,
)
from stoa.domain.plain_text import PlainSchema
from stoa.domain.portable_schema import portable
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
"""MCP 2025-11-25 "Tool names". Generated names are stricter: see `stoa.domain.naming`."""

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


class Tool(Operation):
    """One callable tool."""

    kind: ClassVar[Kind] = "tool"

    name: ToolName
    output_schema: PlainSchema | None = None
    annotations: ToolAnnotations = ToolAnnotations()
    tasks: TaskSupport = "never"

    @cached_property
    def portable_input_schema(self) -> JsonObject:
        """The input schema as every client understands it; the same object where it is so already."""
        return portable(self.input_schema)

    @cached_property
    def access(self) -> Access:
        """The scope a caller needs: what a `stoa:*` tag demands, else what the annotations imply.

        Destructive needs admin, not read-only needs write, anything else (also a tool that says nothing of
        itself) needs read. Of several tags the strictest counts.
        """
        if self.access_by_tag is not None:
            return self.access_by_tag
        if self.annotations.destructive_hint:
            return Access.ADMIN
        return Access.WRITE if self.annotations.read_only_hint is False else Access.READ

    @property
    def is_premium(self) -> bool:
        """Destructive tools cost a double base price."""
        return bool(self.annotations.destructive_hint)
