"""The rules for client requests as an operator writes them.

    {"default": {"maxTokens": 2048}, "tenants": {"acme": {"sampling": false, "urlHosts": ["*.acme.example"]}}}

A field that `default` leaves out has its built-in value; a field that a tenant leaves out has the value of `default`.
"""

from pydantic import Field

from stoa.application.manifests.fields import RateLimitManifest
from stoa.application.ports.manifest_parts import ManifestModel
from stoa.domain.access.identity import TenantName
from stoa.domain.client_requests.rules import (
    DEFAULT_CLIENT_REQUESTS,
    ClientRequestRules,
    ClientRequests,
    MaxTokens,
    PerCall,
)

_PLAIN = DEFAULT_CLIENT_REQUESTS.default


class ClientRequestRulesManifest(ManifestModel):
    """The rules of one tenant in a manifest; ClientRequestRules explains the fields."""

    sampling: bool = _PLAIN.sampling
    elicitation: bool = _PLAIN.elicitation
    roots: bool = _PLAIN.roots
    max_tokens: MaxTokens | None = _PLAIN.max_tokens
    model_hints: tuple[str, ...] = _PLAIN.model_hints
    url_hosts: tuple[str, ...] = _PLAIN.url_hosts
    rate_limit: RateLimitManifest | None = None
    per_call: PerCall = _PLAIN.per_call

    def to_domain(self, base: ClientRequestRules) -> ClientRequestRules:
        """`base` with the fields that the manifest sets."""
        written = {name: getattr(self, name) for name in self.model_fields_set}
        if self.rate_limit is None:
            written.pop("rate_limit", None)
        else:
            written["rate_limit"] = self.rate_limit.to_domain()
        return base.model_copy(update=written)


class ClientRequestsManifest(ManifestModel):
    default: ClientRequestRulesManifest = ClientRequestRulesManifest()
    tenants: dict[TenantName, ClientRequestRulesManifest] = Field(default={})

    def to_domain(self) -> ClientRequests:
        default = self.default.to_domain(_PLAIN)
        return ClientRequests(
            default=default, tenants={name: rules.to_domain(default) for name, rules in self.tenants.items()}
        )
