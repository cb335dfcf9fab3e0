"""An operator's rules for client requests, by tenant."""

from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field

from stoa.domain.access.identity import TenantId, TenantName
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.policy.decision import ClientRequestFacts, Decision
from stoa.domain.value import Strict

MaxTokens = Annotated[int, Field(ge=1)]
PerCall = Annotated[int, Field(ge=1, le=1000)]


class ClientRequestRules(Strict):
    """The rules of one tenant, applied to its calls; the tenant that owns the tool does not matter."""

    sampling: bool = True
    elicitation: bool = True
    roots: bool = True
    max_tokens: MaxTokens | None = 4096
    """Upper bound on `max_tokens` of sampling; a higher number is lowered. None: unbounded."""
    model_hints: tuple[str, ...] = ("*",)
    """Allowed model hints, as patterns with `*` and `?`, case-insensitive."""
    url_hosts: tuple[str, ...] = ("*",)
    """Allowed hosts of URL elicitation, as patterns."""
    rate_limit: RateLimit = RateLimit(requests_per_minute=120, burst=60)
    """Client requests of one operation, counted for each calling tenant."""
    per_call: PerCall = 32
    """Upper bound on the client requests of one call, over all its rounds: a loop must not go on at the client's
    expense."""

    def judge(self, facts: ClientRequestFacts) -> Decision:
        """Allows or denies a client request, with the tenant's cap on `max_tokens`."""
        if not getattr(self, facts.kind):
            return _no(f"{facts.kind} is switched off", facts.kind)
        for hint in facts.model_hints:
            if not _matches(hint, self.model_hints):
                return _no(f"the model {hint[:80]!r} is not among those that may be wished for", "model-hints")
        if facts.url_host is not None and not _matches(facts.url_host, self.url_hosts):
            return _no(f"users may not be sent to {facts.url_host[:80]}", "url-hosts")
        cap = self.max_tokens if facts.kind == "sampling" else None
        return Decision(True, "the tenant's rules allow it", ("client-requests",), max_tokens=cap)


class ClientRequests(Strict):
    """The rules of all tenants."""

    default: ClientRequestRules = ClientRequestRules()
    tenants: dict[TenantName, ClientRequestRules] = Field(default={})

    def of(self, tenant: TenantId | None) -> ClientRequestRules:
        """The tenant's own rules, else the default."""
        return self.default if tenant is None else self.tenants.get(tenant, self.default)


DEFAULT_CLIENT_REQUESTS = ClientRequests()


def _matches(text: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(text.lower(), pattern.lower()) for pattern in patterns)


def _no(reason: str, rule: str) -> Decision:
    return Decision(False, reason, (f"client-requests.{rule}",))
