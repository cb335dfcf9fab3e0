"""Authorisation as values: the query, the decision, and the permit that a call to a back end must hold."""

from dataclasses import dataclass
from typing import Literal, Self

from stoa.domain.access.identity import Principal
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.operations.operation import Operation, OperationKey
from stoa.domain.schema.json_value import JsonObject

Door = Literal["mcp", "rest", "cli", "library"]
"""The interface a call came through. Policies may look at it; nothing else differs between doors."""


ClientRequestKind = Literal["sampling", "elicitation", "roots"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRequestFacts:
    """The facts of a client request that a policy may decide by: no texts, forms or URLs."""

    kind: ClientRequestKind
    max_tokens: int | None = None
    """Sampling: the most tokens that the answer may have."""
    model_hints: tuple[str, ...] = ()
    """Sampling: the models that the call prefers."""
    include_context: str = "none"
    """Sampling: the context that the client is to add, `none`, `thisServer` or `allServers`."""
    tools: tuple[str, ...] = ()
    """Sampling: names of the tools that the model is offered."""
    mode: Literal["form", "url"] | None = None
    """Elicitation: its mode."""
    url_host: str | None = None
    """Elicitation by URL: the host that the user is sent to, in lower case."""


@dataclass(slots=True)  # not frozen: one is made for every call, and freezing costs time
class PolicyQuery:
    """Asks if a caller may use an operation with these arguments; with `client_request`, if the call may make that
    client request too."""

    principal: Principal
    operation: Operation
    """The tool to call, the resource to read or the prompt to get."""
    arguments: JsonObject
    door: Door
    client_request: ClientRequestFacts | None = None


@dataclass(frozen=True, slots=True)
class Obligations:
    """Duties of the gateway when it makes an allowed call (XACML "obligations")."""

    redact: tuple[str, ...] = ()
    """JSON Pointers (RFC 6901) into the structured result; `*` stands for every member or entry. The values there are
    replaced before the result leaves the pipeline."""
    limit: RateLimit | None = None
    """A further limit of this caller for this operation."""
    confirm: str | None = None
    """The user has to agree to this sentence before the call is made."""

    def __post_init__(self) -> None:
        if not all(pointer.startswith("/") for pointer in self.redact):
            raise ValueError("obligations.redact: JSON Pointers begin with /")
        if self.confirm == "":
            raise ValueError("obligations.confirm must be a sentence")


NO_OBLIGATIONS = Obligations()


@dataclass(frozen=True, slots=True)
class Decision:
    """The policy's answer to one query, made by a PolicyEngine."""

    is_allowed: bool
    reason: str
    """Short and safe to show to the caller."""
    rules: tuple[str, ...] = ()
    """Ids of the rules that decided, for audit and explanation."""
    missing_scopes: frozenset[str] = frozenset()
    """Scopes with which the same query would pass: the caller may ask for them (RFC 6750 section 3.1)."""
    obligations: Obligations = NO_OBLIGATIONS
    """Duties of the gateway; set by an allowing decision only."""
    max_tokens: int | None = None
    """Upper bound on `max_tokens` of a sampling request; None: unbounded."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Permission to call one operation once. The only way to get one is an allowing decision."""

    operation: OperationKey
    rules: tuple[str, ...]

    @classmethod
    def grant(cls, decision: Decision, operation: OperationKey) -> Self | None:
        """The permit that `decision` carries, or None when it denies."""
        return cls(operation, decision.rules) if decision.is_allowed else None
