"""A Tool: what an agent may call, and all the gateway must know to govern and perform the call."""

import hashlib
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal, NamedTuple, NewType, Self

import pydantic_core
from pydantic import ConfigDict, Field, StringConstraints, model_validator

from stoa.domain.identity import SCOPE_ADMIN, SCOPE_READ, SCOPE_WRITE, TenantId, TenantName
from stoa.domain.json_value import JsonObject
from stoa.domain.rate_limit import RateLimit
from stoa.domain.value import Value

ToolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
"""MCP 2025-11-25 "Tool names". Generated names are stricter: see `stoa.domain.naming`."""

Fingerprint = NewType("Fingerprint", str)

TimeoutSeconds = Annotated[float, Field(gt=0, le=300)]
SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=253)]
SecretKey = Annotated[str, StringConstraints(pattern=r"^[-A-Za-z0-9_.]+$", max_length=253)]


class _Frozen(Value):
    model_config = ConfigDict(extra="forbid")


class ToolKey(NamedTuple):
    """What identifies a tool: the tenant that owns it (None: global) and its name."""

    tenant: TenantId | None
    name: str

    def __str__(self) -> str:
        return f"{self.tenant or 'global'}/{self.name}"


class ToolAnnotations(_Frozen):
    """MCP tool annotations; None means "not said", which clients read as the protocol's default."""

    read_only_hint: bool | None = None
    destructive_hint: bool | None = None
    idempotent_hint: bool | None = None
    open_world_hint: bool | None = None


class ApiReference(_Frozen):
    """The API and operation a tool was made from."""

    name: str
    version: str | None = None
    operation_id: str | None = None


class SecretReference(_Frozen):
    """Names a secret of the tool's own tenant; it can never name another's (see CredentialSource)."""

    name: SecretName
    key: SecretKey | None = None
    """One entry of a secret with several; None: the entry that the authentication type expects."""


class Authentication(_Frozen):
    """How the gateway proves itself to the back end. The caller's own token never goes there."""

    type: Literal["none", "bearer", "basic", "apiKey"] = "none"
    secret: SecretReference | None = None
    location: Literal["header", "query", "cookie"] = "header"
    """Where an apiKey goes."""
    parameter_name: str = "X-API-Key"
    """Name of the header, query parameter or cookie that carries an apiKey."""


class RestParameter(_Frozen):
    """How one argument becomes a parameter of the request (OpenAPI 3.1 section 4.8.12)."""

    argument: str
    """Key in the tool's arguments."""
    name: str
    """Name on the wire."""
    location: Literal["path", "query", "header", "cookie"]
    style: Literal["simple", "label", "matrix", "form", "spaceDelimited", "pipeDelimited", "tabDelimited", "deepObject"]
    explode: bool
    allow_reserved: bool = False
    is_json: bool = False
    """The value is sent as JSON text (`content: application/json` instead of a style)."""


class FormField(_Frozen):
    """How one property of a form-urlencoded body is sent (OpenAPI 3.1 section 4.8.15)."""

    style: Literal["form", "spaceDelimited", "pipeDelimited", "tabDelimited", "deepObject"] = "form"
    explode: bool = True
    is_json: bool = False


class RestBody(_Frozen):
    """How arguments become the request body; exactly one of `argument` and `fields` is set."""

    media_type: str
    argument: str | None = None
    """The whole body is this argument."""
    fields: dict[str, str] | None = None
    """The body is an object: argument name to property name."""
    required: bool = False
    """Send an empty object or form when no argument of the body is given."""
    form: dict[str, FormField] = Field(default={})
    """Property name to its encoding, for application/x-www-form-urlencoded; absent: the default."""


class RestBinding(_Frozen):
    """One HTTP operation."""

    kind: Literal["rest"] = "rest"
    method: str = Field(pattern=r"^[A-Z]+$")
    base_url: str = Field(pattern=r"^https?://[^/?#]+[^?#]*$")
    """Scheme, host and base path. No request of this tool ever leaves it."""
    path: str
    """Path template below the base, `/pets/{petId}`; a placeholder is the wire name of a path parameter."""
    parameters: tuple[RestParameter, ...] = ()
    fixed_query: tuple[tuple[str, str], ...] = ()
    """Query parameters that are part of the operation's path and not for the caller to choose."""
    body: RestBody | None = None
    accept: str = "application/json, */*;q=0.8"


class LocalBinding(_Frozen):
    """A Python function of the embedding program, by its key in the LocalBackend."""

    kind: Literal["local"] = "local"
    function: str


Binding = Annotated[RestBinding | LocalBinding, Field(discriminator="kind")]


class Access(StrEnum):
    """The scope that calling a tool needs."""

    READ = SCOPE_READ
    WRITE = SCOPE_WRITE
    ADMIN = SCOPE_ADMIN


class Tool(_Frozen):
    """One callable tool. Equal fingerprints mean equal behaviour, so compiled parts may be kept."""

    name: ToolName
    tenant: TenantName | None = None
    """None: a global tool, visible to every tenant."""
    title: str | None = None
    description: str = ""
    input_schema: JsonObject = Field(default_factory=lambda: {"type": "object", "properties": {}})
    """JSON Schema 2020-12 with an object at the root."""
    output_schema: JsonObject | None = None
    annotations: ToolAnnotations = ToolAnnotations()
    tags: tuple[str, ...] = ()
    category: str | None = None
    version: str | None = None
    api: ApiReference | None = None
    binding: Binding
    timeout_seconds: TimeoutSeconds = 30.0
    rate_limit: RateLimit | None = None
    authentication: Authentication = Authentication()
    enabled: bool = True

    @model_validator(mode="after")
    def _is_json(self) -> Self:
        """What cannot be written as JSON could be neither listed nor compared."""
        try:
            _ = self.fingerprint
        except ValueError as caught:
            message = "its schemas must be JSON of at most 255 levels, without cycles, and its texts Unicode"
            raise ValueError(message) from caught
        return self

    @property
    def key(self) -> ToolKey:
        return ToolKey(self.tenant, self.name)

    @cached_property
    def access(self) -> Access:
        """The scope a caller needs: what a `stoa:*` tag demands, else what the annotations imply.

        Destructive needs admin, not read-only needs write, anything else (also a tool that says nothing of
        itself) needs read. Of several tags the strictest counts.
        """
        for access in (Access.ADMIN, Access.WRITE, Access.READ):
            if access.value in self.tags:
                return access
        if self.annotations.destructive_hint:
            return Access.ADMIN
        return Access.WRITE if self.annotations.read_only_hint is False else Access.READ

    @property
    def is_premium(self) -> bool:
        """Destructive tools cost a double base price."""
        return bool(self.annotations.destructive_hint)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """SHA-256 over the JSON of the whole tool. The order of members counts: clients get to see it."""
        return Fingerprint(hashlib.sha256(pydantic_core.to_json(self.model_dump())).hexdigest())
