"""The tenants' rules: what calls may ask their clients."""

import pytest

from stoa.domain.client_requests import ClientRequestRules, ClientRequests
from stoa.domain.identity import TenantId
from stoa.domain.policy import Question


@pytest.mark.parametrize(
    ("rules", "question", "rule"),
    [
        ({"sampling": False}, Question(kind="sampling", max_tokens=1), "client-requests.sampling"),
        ({"elicitation": False}, Question(kind="elicitation", mode="form"), "client-requests.elicitation"),
        ({"roots": False}, Question(kind="roots"), "client-requests.roots"),
        (
            {"model_hints": ("claude-*",)},
            Question(kind="sampling", model_hints=("Claude-x", "gpt")),
            "client-requests.model-hints",
        ),
        (
            {"url_hosts": ("*.example",)},
            Question(kind="elicitation", mode="url", url_host="evil.test"),
            "client-requests.url-hosts",
        ),
    ],
)
def test_what_a_rule_forbids_is_refused_by_it_and_allowed_without_it(rules, question, rule):
    refused = ClientRequestRules.model_validate(rules).judge(question)
    assert (refused.is_allowed, refused.rules) == (False, (rule,))
    assert ClientRequestRules().judge(question).is_allowed


def test_patterns_let_pass_what_they_match_in_any_case():
    rules = ClientRequestRules(model_hints=("claude-*", "GPT-?"), url_hosts=("*.example",))
    for allowed in (
        Question(kind="sampling", model_hints=("Claude-x", "gpt-4")),
        Question(kind="sampling"),
        Question(kind="elicitation", mode="url", url_host="login.example"),
        Question(kind="elicitation", mode="form"),
    ):
        assert rules.judge(allowed).is_allowed


def test_only_sampling_has_a_cap_of_tokens():
    rules = ClientRequestRules(max_tokens=7)
    assert rules.judge(Question(kind="sampling", max_tokens=9)).max_tokens == 7
    assert rules.judge(Question(kind="elicitation", mode="form")).max_tokens is None
    assert ClientRequestRules(max_tokens=None).judge(Question(kind="sampling")).max_tokens is None


def test_a_tenant_has_its_own_rules_or_those_of_all():
    strict, default = ClientRequestRules(roots=False), ClientRequestRules(per_call=3)
    rules = ClientRequests(default=default, tenants={TenantId("acme"): strict})
    assert [rules.of(tenant) for tenant in (TenantId("acme"), TenantId("beta"), None)] == [strict, default, default]
