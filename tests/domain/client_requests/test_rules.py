"""Which questions a tenant's rules let through."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.strategies import few_tenants, questions

from stoa.domain.access.identity import TenantId
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.client_requests.rules import DEFAULT_CLIENT_REQUESTS, ClientRequestRules, ClientRequests
from stoa.domain.policy.decision import ClientRequestFacts, Decision

KINDS = ["sampling", "elicitation", "roots"]


@given(questions())
def test_client_request_rules_allow_all_by_default_and_cap_sampling(question: ClientRequestFacts) -> None:
    cap = 4096 if question.kind == "sampling" else None
    for rules in (ClientRequestRules(), DEFAULT_CLIENT_REQUESTS.of(TenantId("acme"))):
        assert rules.judge(question) == Decision(
            True, "the tenant's rules allow it", ("client-requests",), max_tokens=cap
        )


@given(questions(), st.sets(st.sampled_from(KINDS)))
def test_a_kind_that_is_switched_off_is_refused_and_the_others_are_not(
    question: ClientRequestFacts, off: set[str]
) -> None:
    decision = ClientRequestRules(**dict.fromkeys(off, False)).judge(question)  # type: ignore[arg-type]
    assert decision.is_allowed == (question.kind not in off)
    if not decision.is_allowed:
        assert decision == Decision(False, f"{question.kind} is switched off", (f"client-requests.{question.kind}",))


@pytest.mark.parametrize(
    ("hint", "patterns", "is_allowed"),
    [
        ("claude-x", ("claude-*",), True),
        ("Claude-X", ("claude-*",), True),
        ("claude-x", ("CLAUDE-?",), True),
        ("claude-xy", ("claude-?",), False),
        ("gpt-z", ("claude-*",), False),
        ("gpt-z", ("claude-*", "gpt-*"), True),
        ("gpt-z", (), False),
        ("my-claude-x", ("claude-*",), False),
    ],
)
def test_models_are_wished_for_by_patterns_without_regard_to_case(
    hint: str, patterns: tuple[str, ...], is_allowed: bool
) -> None:
    rules = ClientRequestRules(model_hints=patterns)
    assert rules.judge(ClientRequestFacts(kind="sampling", model_hints=(hint,))).is_allowed == is_allowed
    assert rules.judge(ClientRequestFacts(kind="sampling", model_hints=("claude-x", hint))).is_allowed == (
        is_allowed
        and ClientRequestRules(model_hints=patterns)
        .judge(ClientRequestFacts(kind="sampling", model_hints=("claude-x",)))
        .is_allowed
    )
    assert rules.judge(ClientRequestFacts(kind="sampling")).is_allowed


def test_a_model_that_may_not_be_wished_for_is_named_as_far_as_it_is_short() -> None:
    decision = ClientRequestRules(model_hints=("claude-*",)).judge(
        ClientRequestFacts(kind="sampling", model_hints=("x" * 90,))
    )
    reason = f"the model {'x' * 80!r} is not among those that may be wished for"
    assert decision == Decision(False, reason, ("client-requests.model-hints",))


@pytest.mark.parametrize(("pattern", "is_allowed"), [("*.example", True), ("LOGIN.*", True), ("login", False)])
def test_users_are_sent_to_hosts_by_patterns(pattern: str, is_allowed: bool) -> None:
    question = ClientRequestFacts(kind="elicitation", mode="url", url_host="login.example")
    decision = ClientRequestRules(url_hosts=(pattern,)).judge(question)
    assert decision.is_allowed == is_allowed
    if not is_allowed:
        assert decision == Decision(False, "users may not be sent to login.example", ("client-requests.url-hosts",))
    long = ClientRequestRules(url_hosts=()).judge(ClientRequestFacts(kind="elicitation", mode="url", url_host="h" * 90))
    assert long.reason.endswith(f" {'h' * 80}")


def test_client_request_rules_for_hosts_concern_url_elicitation_only() -> None:
    rules = ClientRequestRules(url_hosts=(), model_hints=())
    assert rules.judge(ClientRequestFacts(kind="elicitation", mode="form")).is_allowed
    assert rules.judge(ClientRequestFacts(kind="roots")).is_allowed


@given(st.none() | st.integers(1, 10**6), questions())
def test_the_cap_of_tokens_is_the_rules_own_and_of_sampling_only(cap: int | None, question: ClientRequestFacts) -> None:
    decision = ClientRequestRules(max_tokens=cap).judge(question)
    assert decision.max_tokens == (cap if question.kind == "sampling" else None)


@given(st.dictionaries(few_tenants, st.integers(1, 9).map(lambda n: ClientRequestRules(per_call=n))), few_tenants)
def test_a_tenant_has_its_own_rules_else_the_default(tenants: dict[TenantId, Any], tenant: TenantId) -> None:
    default = ClientRequestRules(per_call=999)
    rules = ClientRequests(default=default, tenants=tenants)
    assert rules.of(tenant) == tenants.get(tenant, default)
    assert rules.of(None) == default


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("max_tokens", [None, 1, 10**9], [0, -1]),
        ("per_call", [1, 1000], [0, 1001]),
        ("rate_limit", [RateLimit(requests_per_minute=1)], [0]),
    ],
)
def test_the_bounds_of_the_rules(field: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert getattr(ClientRequestRules(**{field: value}), field) == value
    for value in bad:
        with pytest.raises(ValidationError, match=field):
            ClientRequestRules(**{field: value})
    with pytest.raises(ValidationError, match="tenants"):
        ClientRequests(tenants={"No Tenant": ClientRequestRules()})
