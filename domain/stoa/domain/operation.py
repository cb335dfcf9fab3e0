"""An Operation: what every callable thing (tool, resource, prompt) has in common, so that one pipeline governs all."""

import hashlib
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, NewType, Self

import pydantic_core
from pydantic import Field, model_validator

from stoa.domain.binding import Authentication, Binding
from stoa.domain.icon import Icons
from stoa.domain.identity import SCOPE_ADMIN, SCOPE_READ, SCOPE_WRITE, TenantId, TenantName
from stoa.domain.json_value import JsonObject
from stoa.domain.plain_text import PlainSchema, PlainText
from stoa.domain.rate_limit import RateLimit
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

    def __str__(self) -> str:
        name = self.name if self.kind == "tool" else f"{self.kind}:{self.name}"
        return f"{self.tenant or 'global'}/{name}"


class ApiReference(Strict):
    """The API and operation an operation was made from."""

    name: str
    version: str | None = None
    operation_id: str | None = None


class Access(StrEnum):
    """The scope that calling an operation needs."""

    READ = SCOPE_READ
    WRITE = SCOPE_WRITE
    ADMIN = SCOPE_ADMIN


MeteredArguments = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=64)], ...], Field(max_length=8)]


class Operation(Strict):
    """One callable thing. Equal fingerprints mean equal behaviour, so compiled parts may be kept."""

    kind: ClassVar[Kind]

    name: str
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
    binding: Binding
    timeout_seconds: TimeoutSeconds = 30.0
    rate_limit: RateLimit | None = None
    authentication: Authentication = Authentication()
    metered_arguments: MeteredArguments = ()
    """Arguments whose values may stand in metering events; no other value ever does."""
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
    def key(self) -> OperationKey:
        return OperationKey(self.tenant, self.name, self.kind)

    @cached_property
    def access(self) -> Access:
        """The scope a caller needs: what a `stoa:*` tag demands, of several the strictest; else read."""
        return self.access_by_tag or Access.READ

    @property
    def access_by_tag(self) -> Access | None:
        return next((access for access in (Access.ADMIN, Access.WRITE, Access.READ) if access.value in self.tags), None)

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
