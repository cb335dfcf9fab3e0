"""The rules for questions to clients, as they are written."""

import pytest
from pydantic import ValidationError

from stoa.application.manifests.client_requests import ClientRequestsManifest
from stoa.domain.access.identity import TenantId
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.client_requests.rules import ClientRequestRules, ClientRequests
from stoa.domain.policy.decision import ClientRequestFacts


def _read(text: str) -> ClientRequests:
    return ClientRequestsManifest.model_validate_json(text).to_domain()


def test_what_is_not_written_is_as_it_comes() -> None:
    assert _read("{}") == ClientRequests()
    assert ClientRequests().default == ClientRequestRules(sampling=True, elicitation=True, roots=True, max_tokens=4096)


def test_a_tenant_has_the_default_rules_but_for_what_is_written_for_it() -> None:
    rules = _read(
        '{"default": {"maxTokens": 100, "modelHints": ["claude-*"], "roots": false},'
        ' "tenants": {"acme": {"sampling": false, "roots": true, "perCall": 3},'
        '             "beta": {"maxTokens": null, "rateLimit": {"requestsPerMinute": 6, "burst": 2}}}}'
    )
    default = ClientRequestRules(max_tokens=100, model_hints=("claude-*",), roots=False)
    assert rules.of(None) == rules.of(TenantId("other")) == default
    assert rules.of(TenantId("acme")) == ClientRequestRules(
        max_tokens=100, model_hints=("claude-*",), sampling=False, per_call=3
    )
    assert rules.of(TenantId("beta")) == default.model_copy(
        update={"max_tokens": None, "rate_limit": RateLimit(requests_per_minute=6, burst=2)}
    )


@pytest.mark.parametrize(
    "text",
    ['{"default": {"sampling": "maybe"}}', '{"default": {"maxTokens": 0}}', '{"tenants": {"Not A Tenant": {}}}',
     '{"tenants": {"acme": {"smapling": false}}}', '{"default": {"perCall": 0}}'],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        _read(text)


def test_patterns_do_not_look_at_case() -> None:
    rules = ClientRequestRules(model_hints=("Claude-*",), url_hosts=("*.acme.example",))

    def allows(**question: object) -> bool:
        return rules.judge(ClientRequestFacts(**question)).is_allowed  # type: ignore[arg-type]

    assert allows(kind="sampling", model_hints=("claude-OPUS",))
    assert allows(kind="sampling")
    assert not allows(kind="sampling", model_hints=("claude-opus", "gpt"))
    assert allows(kind="elicitation", mode="url", url_host="login.acme.example")
    assert not allows(kind="elicitation", mode="url", url_host="acme.example.org")
    assert allows(kind="elicitation", mode="form")
