"""An Operation: what every callable thing (tool, resource, prompt) has in common, so that one pipeline governs all."""

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
    """What identifies an operation: the tenant that owns it (None: global), its name and its kind. The same name may
    stand for a tool, a resource and a prompt."""

    tenant: TenantId | None
    name: str
    kind: Kind = "tool"

    @property
    def qualified_name(self) -> str:
        """The name with the kind of what is no tool: unique in one tenant's view."""
        return self.name if self.kind == "tool" else f"{self.kind}:{self.name}"

    def __str__(self) -> str:
        return f"{self.tenant or 'global'}/{self.qualified_name}"


class ApiReference(Strict):
    """The API and operation an operation was made from."""

    name: str
    version: str | None = None
    operation_id: str | None = None


MeteredArguments = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=64)], ...], Field(max_length=8)]


class Operation(Strict):
    """One callable thing. Equal fingerprints mean equal behaviour, so compiled parts may be kept."""

    kind: ClassVar[Kind]

    tenant: TenantName | None = None
    """None: global, visible to every tenant."""
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
    """Arguments whose values may stand in metering events; no other value ever does."""
    may_lower_access: bool = False
    """The platform lets this tenant's tags and hints ask for less than the method; global ones may in any case."""
    is_by_tenant: bool = False
    """The tenant's own team wrote it, in a place that is bound to the tenant: its name never stands in the place of one
    of the platform's. False: the platform did, that is its catalogue paths and the embedding program."""
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
        """How metering and price lists name it. No caller chooses it, so the number of names is bounded: a template is
        one name, whatever URIs are read."""
        return self.key.qualified_name

    @cached_property
    def access(self) -> Access:
        """The scope a caller needs: what its tags and hints say. They may raise what its method needs; only the
        platform's word (`is_trusted`) may lower it."""
        return self.said_access if self.is_trusted else strictest(self.said_access, self.method_access)

    @cached_property
    def method_access(self) -> Access:
        """The scope that its method demands by the protocol of its binding; read where the protocol says nothing."""
        properties = self.binding.method_properties
        return Access.READ if properties is None else properties.access

    @property
    def said_access(self) -> Access:
        """What a `stoa:*` tag says, of several the strictest; else what the method demands."""
        return self.access_by_tag or self.method_access

    @property
    def is_trusted(self) -> bool:
        """Its tags and hints count also where they ask for less than its method. Global operations are made by the
        platform alone."""
        return self.tenant is None or self.may_lower_access

    @property
    def access_by_tag(self) -> Access | None:
        return next((access for access in (Access.ADMIN, Access.WRITE, Access.READ) if access.value in self.tags), None)

    @property
    def lowered_by(self) -> str | None:
        """Who made it need less than its method does, in words; None: it does not."""
        if self.access is strictest(self.access, self.method_access):
            return None
        return "the platform" if self.tenant is None else f"tenant {self.tenant}, as the platform allows"

    @property
    def is_premium(self) -> bool:
        """Premium operations cost a multiple of the base price."""
        return False

    @property
    def is_template(self) -> bool:
        """Stands for many things that are told apart by its name's variables."""
        return False

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """SHA-256 over the JSON of the whole operation. The order of members counts: clients get to see it."""
        return Fingerprint(hashlib.sha256(pydantic_core.to_json(self.model_dump())).hexdigest())


def string_schema(properties: dict[str, JsonObject], required: list[str]) -> JsonObject:
    """The input schema of arguments that can only be strings; `properties` are their annotations."""
    strings: dict[str, Any] = {name: {"type": "string", **rest} for name, rest in properties.items()}
    return {"type": "object", "properties": strings, "required": required, "additionalProperties": False}
