"""One call of one tool, resource or prompt: what was asked, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass

from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.access.rate_limit import LimitVerdict
from stoa.domain.client_requests.client_request import ClientRequest
from stoa.domain.errors import ContentUnavailable, StoaError
from stoa.domain.metering.event import MeteringEvent, Status
from stoa.domain.metering.money import MicroUnits
from stoa.domain.operations.operation import Kind
from stoa.domain.policy.decision import ClientRequestKind, Decision, Door
from stoa.domain.results.result import TextContent, ToolResult
from stoa.domain.schema.json_value import JsonObject


@dataclass(frozen=True, slots=True)
class BearerToken:
    """An unverified credential as it came. Its repr hides the token."""

    value: str

    def __repr__(self) -> str:
        return "BearerToken(***)"


Credential = Principal | BearerToken | None
"""A token to verify; a Principal that the door's own verification, or the embedding program, vouches for; nothing."""


@dataclass(slots=True, kw_only=True)
class Invocation:
    """A request to call a tool, read a resource or get a prompt, the same from every door."""

    credential: Credential
    name: str
    """Its name; the URI of a resource to read."""
    arguments: JsonObject
    """A resource has none: they are in its URI."""
    door: Door
    tenant: TenantId | None = None
    """The tenant whose catalogue is meant; None: the caller's own."""
    request_id: str | None = None
    """The caller's correlation id; None: the gateway makes one."""
    consumer: str = "unknown"
    kind: Kind = "tool"
    proof: Credential = None
    """What `credential` was verified from, where the door did that: for tools that act in the caller's name."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How an invocation ended: exactly one of `result`, `error` and `client_requests` is set. Or how one of its client
    requests ended: then `client_request` is set, and `error` when there was no answer."""

    status: Status
    result: ToolResult | None
    error: StoaError | None
    """Why there is no result: a refusal, or a failure of the gateway itself."""
    decision: Decision | None
    """None: refused before the policy was asked."""
    principal: Principal | None
    request_id: str
    latency_ms: int
    cost: MicroUnits
    event: MeteringEvent
    client_requests: Mapping[str, ClientRequest] | None = None
    """What the client has to answer before the call can go on, with status `input_required`."""
    client_request: ClientRequestKind | None = None
    limit: LimitVerdict | None = None
    """What the limits said; None: the call did not get so far."""
    coerced: tuple[str, ...] = ()
    """Arguments that were understood otherwise than written, for callers who may call the tool: JSON Pointers
    (RFC 6901), `*` for any name."""

    def content(self) -> ToolResult:
        """The answer of a resource or prompt, which cannot say in itself that it failed. Raises StoaError."""
        if self.result is None:
            raise self.error or StoaError("Internal error")
        if self.result.is_error:
            said = "\n".join(block.text for block in self.result.content if isinstance(block, TextContent))
            raise ContentUnavailable(said or "The back end answered with an error")
        return self.result
