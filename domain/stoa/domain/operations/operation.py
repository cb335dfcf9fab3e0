"""An Operation: the common part of all that can be called (tools, resources, prompts), so that one pipeline governs
all."""

import hashlib
from abc import abstractmethod
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, NewType, Self

import pydantic_core
from pydantic import Field, model_validator

from stoa.domain.access.identity import TenantId, TenantName
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.operations.access import Access, strictest
from stoa.domain.operations.binding import AnyBinding, Authentication
from stoa.domain.operations.icon import Icons
from stoa.domain.schema.json_value import JsonObject
from stoa.domain.schema.plain_text import PlainSchema, PlainText
from stoa.domain.value import Strict

Kind = Literal["tool", "resource", "prompt"]

Fingerprint = NewType("Fingerprint", str)


TimeoutSeconds = Annotated[float, Field(gt=0, le=300)]


class OperationKey(NamedTuple):
    """The identity of an operation: the tenant that owns it (None: global), its name and its kind. A tool, a resource
    and a prompt may have the same name."""

    tenant: TenantId | None
    name: str
    kind: Kind = "tool"

    @property
    def qualified_name(self) -> str:
        """The name, prefixed with the kind unless it is a tool's: unique in one tenant's view."""
        return self.name if self.kind == "tool" else f"{self.kind}:{self.name}"

    def __str__(self) -> str:
        return f"{self.tenant or 'global'}/{self.qualified_name}"


class ApiReference(Strict):
    """The API, and its operation, that an operation was made from."""

    name: str
    version: str | None = None
    operation_id: str | None = None


MeteredArguments = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=64)], ...], Field(max_length=8)]


class Operation(Strict):
    """One callable thing. Equal fingerprints mean equal behaviour, so compiled parts may be kept."""

    kind: ClassVar[Kind]

    tenant: TenantName | None = None
    """None for a global operation, which every tenant sees."""
    title: PlainText | None = None
    description: PlainText = ""
    input_schema: PlainSchema = Field(default_factory=lambda: {"type": "object", "properties": {}})
    """JSON Schema 2020-12 with an object at the root."""
    icons: Icons = ()
    tags: tuple[str, ...] = ()
    category: str | None = None
    version: str | None = None
    api: ApiReference | None = None
    binding: AnyBinding
    timeout_seconds: TimeoutSeconds = 30.0
    rate_limit: RateLimit | None = None
    authentication: Authentication = Authentication()
    metered_arguments: MeteredArguments = ()
    """Arguments whose values may appear in metering events; other values never do."""
    may_lower_access: bool = False
    """Allows this tenant's tags and hints to require less than the method does; for global operations they may in any
    case."""
    is_by_tenant: bool = False
    """The tenant's own team wrote it, in a place that is bound to the tenant: it never takes the place of one of the
    platform's. False: the platform wrote it, in its catalogue paths or in the embedding program."""
    enabled: bool = True

    @model_validator(mode="after")
    def _is_json(self) -> Self:
        """Refuses values that JSON cannot represent: such an operation could be neither listed nor compared."""
        try:
            _ = self.fingerprint
        except ValueError as caught:
            message = "its schemas must be JSON of at most 255 levels, without cycles, and its texts Unicode"
            raise ValueError(message) from caught
        return self

    @cached_property
    @abstractmethod
    def identifier(self) -> str:
        """The name of a tool or prompt, the URI or URI template of a resource: unique within tenant and kind."""
        ...

    @cached_property
    def key(self) -> OperationKey:
        return OperationKey(self.tenant, self.identifier, self.kind)

    @cached_property
    def qualified_name(self) -> str:
        """The name in metering and price lists. No caller chooses it, so the number of names is bounded: all URIs of a
        template count under the template's name."""
        return self.key.qualified_name

    @cached_property
    def access(self) -> Access:
        """The scope that a caller needs, by the operation's tags and hints. They may raise the scope that its method
        needs; lowering it takes the platform's trust (`is_trusted`)."""
        return self.said_access if self.is_trusted else strictest(self.said_access, self.method_access)

    @cached_property
    def method_access(self) -> Access:
        """The scope that the method needs by the protocol of the binding; READ where the protocol leaves it open."""
        properties = self.binding.method_properties
        return Access.READ if properties is None else properties.access

    @property
    def said_access(self) -> Access:
        """The strictest of the `stoa:*` tags; without one, the scope of the method."""
        return self.access_by_tag or self.method_access

    @property
    def is_trusted(self) -> bool:
        """True if tags and hints count even where they require less than the method. Global operations are made by the
        platform alone."""
        return self.tenant is None or self.may_lower_access

    @property
    def access_by_tag(self) -> Access | None:
        return next((access for access in (Access.ADMIN, Access.WRITE, Access.READ) if access.value in self.tags), None)

    @property
    def lowered_by(self) -> str | None:
        """The party that lowered the scope below that of the method, in words; None if it is not lowered."""
        if self.access is strictest(self.access, self.method_access):
            return None
        return "the platform" if self.tenant is None else f"tenant {self.tenant}, as the platform allows"

    @property
    def is_premium(self) -> bool:
        """Premium operations cost a multiple of the base price."""
        return False

    @property
    def is_template(self) -> bool:
        """True for an operation that stands for many, told apart by the variables in its name."""
        return False

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """SHA-256 over the JSON of the whole operation. The order of members counts, because clients see it."""
        return Fingerprint(hashlib.sha256(pydantic_core.to_json(self.model_dump())).hexdigest())


def string_schema(properties: dict[str, JsonObject], required: list[str]) -> JsonObject:
    """The input schema of arguments that can only be strings; `properties` are their annotations."""
    strings: dict[str, Any] = {name: {"type": "string", **rest} for name, rest in properties.items()}
    return {"type": "object", "properties": strings, "required": required, "additionalProperties": False}
