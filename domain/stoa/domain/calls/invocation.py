"""One call of one tool, resource or prompt: the request for it (`Invocation`) and its end (`Outcome`)."""

from collections.abc import Mapping
from dataclasses import dataclass

from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.access.rate_limit import LimitVerdict
from stoa.domain.calls.trace_context import TraceContext
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
    """An unverified credential, unchanged. Its repr hides the token."""

    value: str

    def __repr__(self) -> str:
        return "BearerToken(***)"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller with the token that proved its identity. A door that authenticates before the pipeline
    passes this on, so that no token is verified twice."""

    principal: Principal
    token: BearerToken | None
    """None if the door or the embedding program vouches for the principal."""


Credential = Caller | Principal | BearerToken | None
"""An authenticated caller; a Principal that the embedding program vouches for; a token to verify; or None."""


def token_of(credential: Credential) -> BearerToken | None:
    """The caller's own token, for operations that act in the caller's name at their back end."""
    match credential:
        case Caller(_, token):
            return token
        case BearerToken():
            return credential
        case _:
            return None


@dataclass(slots=True)
class Invocation:
    """A request to call a tool, read a resource or get a prompt, the same from every door."""

    credential: Credential
    name: str
    """The operation's name; for a resource, the URI to read."""
    arguments: JsonObject
    """Arguments of a tool or prompt. A resource has none: they are in its URI."""
    door: Door
    tenant: TenantId | None = None
    """The tenant whose catalogue is meant; None means the caller's own."""
    request_id: str | None = None
    """The caller's correlation id; without one the gateway makes one."""
    consumer: str = "unknown"
    kind: Kind = "tool"
    trace: TraceContext | None = None
    """The distributed trace that the request belongs to, if it names one."""


@dataclass(slots=True)
class Outcome:
    """The end of an invocation: exactly one of `result`, `error` and `client_requests` is set. An outcome may also be
    the end of one of the call's client requests: then `client_request` is its kind, and `error` is set when there was
    no answer."""

    status: Status
    result: ToolResult | None
    error: StoaError | None
    """The reason why there is no result: a refusal, or a failure of the gateway itself."""
    decision: Decision | None
    """None when the call was refused before the policy was asked."""
    principal: Principal | None
    request_id: str
    latency_ms: int
    cost: MicroUnits
    event: MeteringEvent
    client_requests: Mapping[str, ClientRequest] | None = None
    """The client requests to answer before the call can go on, with status `input_required`."""
    client_request: ClientRequestKind | None = None
    limit: LimitVerdict | None = None
    """The verdict of the rate limits; None when the call ended before they were checked."""
    coerced: tuple[str, ...] = ()
    """Arguments that were coerced to the type of their schema, for callers who may call the tool: JSON Pointers (RFC
    6901), with `*` for any name."""
    tolerated: tuple[str, ...] = ()
    """Arguments that miss their schema and were let through, because the tool is checked leniently: likewise."""

    def content(self) -> ToolResult:
        """The result of a resource or prompt. Such a result has no form for a failure, so a failure is raised as a
        StoaError."""
        if self.result is None:
            raise self.error or StoaError("Internal error")
        if self.result.is_error:
            words = "\n".join(block.text for block in self.result.content if isinstance(block, TextContent))
            raise ContentUnavailable(words or "The back end answered with an error")
        return self.result
