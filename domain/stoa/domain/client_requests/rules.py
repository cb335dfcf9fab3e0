"""What calls may ask their clients, tenant by tenant: the rules that an operator sets."""

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
    """The rules of one tenant: who calls decides, not who owns the tool."""

    sampling: bool = True
    elicitation: bool = True
    roots: bool = True
    max_tokens: MaxTokens | None = 4096
    """A sampling question asks for at most so many tokens: a higher number is lowered. None: any number."""
    model_hints: tuple[str, ...] = ("*",)
    """Models that may be wished for, as patterns with `*` and `?`, without regard to case."""
    url_hosts: tuple[str, ...] = ("*",)
    """Hosts that users may be sent to, as patterns."""
    rate_limit: RateLimit = RateLimit(requests_per_minute=120, burst=60)
    """Questions of one tool, counted for each calling tenant."""
    per_call: PerCall = 32
    """Questions in one call, over all its rounds: no loop goes on for ever at the client's expense."""

    def judge(self, question: ClientRequestFacts) -> Decision:
        """Whether it may be asked, and with how many tokens."""
        if not getattr(self, question.kind):
            return _no(f"{question.kind} is switched off", question.kind)
        for hint in question.model_hints:
            if not _matches(hint, self.model_hints):
                return _no(f"the model {hint[:80]!r} is not among those that may be wished for", "model-hints")
        if question.url_host is not None and not _matches(question.url_host, self.url_hosts):
            return _no(f"users may not be sent to {question.url_host[:80]}", "url-hosts")
        cap = self.max_tokens if question.kind == "sampling" else None
        return Decision(True, "the tenant's rules allow it", ("client-requests",), max_tokens=cap)


class ClientRequests(Strict):
    """The rules of all tenants."""

    default: ClientRequestRules = ClientRequestRules()
    tenants: dict[TenantName, ClientRequestRules] = Field(default={})

    def of(self, tenant: TenantId | None) -> ClientRequestRules:
        """The tenant's own, else the default."""
        return self.default if tenant is None else self.tenants.get(tenant, self.default)


DEFAULT_CLIENT_REQUESTS = ClientRequests()


def _matches(text: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(text.lower(), pattern.lower()) for pattern in patterns)


def _no(reason: str, rule: str) -> Decision:
    return Decision(False, reason, (f"client-requests.{rule}",))
