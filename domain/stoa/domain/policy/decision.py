"""Authorisation as values: the question, the answer, and the permission that a back-end call must hold."""

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
    """What a running call wants to ask its client, as far as it is a policy's business: no texts, forms or URLs."""

    kind: ClientRequestKind
    max_tokens: int | None = None
    """Of sampling: how long the answer may be."""
    model_hints: tuple[str, ...] = ()
    """Of sampling: models that are wished for."""
    include_context: str = "none"
    """Of sampling: whose context the client shall add, `thisServer` or `allServers`."""
    tools: tuple[str, ...] = ()
    """Of sampling: names of the tools that the model is offered."""
    mode: Literal["form", "url"] | None = None
    """Of elicitation."""
    url_host: str | None = None
    """Of elicitation by URL: where the user is sent, in lower case."""


@dataclass(frozen=True, slots=True)
class PolicyQuery:
    """May this caller use this operation with these arguments? With `client_request`: and may it send
    that to its client?"""

    principal: Principal
    operation: Operation
    """What is to be used: a tool, a resource to read or a prompt to get."""
    arguments: JsonObject
    door: Door
    client_request: ClientRequestFacts | None = None


@dataclass(frozen=True, slots=True)
class Obligations:
    """What the gateway has to see to when it makes an allowed call."""

    redact: tuple[str, ...] = ()
    """JSON Pointers (RFC 6901) into the structured result; `*` stands for every member or entry. What is there is
    replaced before anybody sees it."""
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
    """The policy's answer. Made by a PolicyEngine for one query."""

    is_allowed: bool
    reason: str
    """Short and safe to show to the caller."""
    rules: tuple[str, ...] = ()
    """Ids of the rules that decided, for audit and explanation."""
    missing_scopes: frozenset[str] = frozenset()
    """Scopes with which the same query would pass: the caller may ask for them (RFC 6750 section 3.1)."""
    obligations: Obligations = NO_OBLIGATIONS
    """Of an allowing decision."""
    max_tokens: int | None = None
    """Upper bound on `max_tokens` of a sampling request; None: unbounded."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Permission to call one operation once. The only way to get one is an allowing decision."""

    operation: OperationKey
    rules: tuple[str, ...]

    @classmethod
    def grant(cls, decision: Decision, tool: OperationKey) -> Self | None:
        """The permit that `decision` carries, or None when it denies."""
        return cls(tool, decision.rules) if decision.is_allowed else None
