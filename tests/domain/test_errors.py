"""Errors: stable codes, and messages that are safe to show and say what to do."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from stoa.domain import errors
from stoa.domain.access.rate_limit import LimitVerdict
from stoa.domain.errors import InvalidInput, StoaError
from stoa.domain.policy.decision import Decision

CODES = {
    "StoaError": "internal",
    "InvalidInput": "invalid_input",
    "InvalidArguments": "invalid_arguments",
    "InvalidState": "invalid_request_state",
    "TaskNotFound": "task_not_found",
    "TaskChanged": "task_changed",
    "ClientCapabilityMissing": "client_cannot",
    "ClientRequestDeclined": "client_refused",
    "NotAuthenticated": "not_authenticated",
    "NotPermitted": "not_permitted",
    "ClientRequestRefused": "question_refused",
    "UpstreamAccessDenied": "upstream_access_denied",
    "OperationNotFound": "tool_not_found",
    "ResourceNotFound": "resource_not_found",
    "PromptNotFound": "prompt_not_found",
    "QuotaExceeded": "rate_limited",
    "BudgetExhausted": "budget_exhausted",
    "Unavailable": "unavailable",
    "SessionsFull": "sessions_full",
    "BodiesFull": "bodies_full",
    "BodyTooLarge": "body_too_large",
    "UnsupportedCoding": "unsupported_coding",
    "ShuttingDown": "shutting_down",
    "SharedStateUnavailable": "shared_state_unavailable",
    "IdentityUnavailable": "identity_unavailable",
    "PolicyUnavailable": "policy_unavailable",
    "LimiterUnavailable": "limiter_unavailable",
    "BudgetUnavailable": "budget_unavailable",
    "MeteringUnavailable": "metering_unavailable",
    "PublisherUnavailable": "publisher_unavailable",
    "TasksUnavailable": "tasks_unavailable",
    "TaskInterrupted": "task_interrupted",
    "BackendUnavailable": "backend_unavailable",
    "BackendTimedOut": "backend_timeout",
    "BackendProtocolError": "backend_protocol_error",
    "ResourceUnreadable": "resource_unreadable",
    "ContentUnavailable": "content_unavailable",
}
"""Programs compare them: one that changes breaks somebody."""


def _tree(kind: type[StoaError]) -> list[type[StoaError]]:
    return [kind, *(one for child in kind.__subclasses__() for one in _tree(child))]


def test_every_error_has_its_own_code_which_stays() -> None:
    kinds = [kind for kind in _tree(StoaError) if kind.__module__ == errors.__name__]
    assert {kind.__name__: kind.code for kind in kinds} == CODES
    assert len(set(CODES.values())) == len(CODES)


MESSAGES: list[tuple[Callable[[], StoaError], str]] = [
    (lambda: StoaError("no"), "no"),
    (lambda: errors.InvalidState(), "Invalid or expired requestState"),
    (lambda: errors.TaskNotFound(), "Unknown or expired task"),
    (lambda: errors.TaskChanged(), "The task has changed meanwhile; ask for it again"),
    (
        lambda: errors.ClientCapabilityMissing(["roots", "sampling"]),
        "The client must support roots, sampling for this call",
    ),
    (lambda: errors.ClientRequestDeclined("who"), "The client did not answer the question 'who' as it has to"),
    (lambda: errors.NotPermitted(Decision(False, "not on Sundays")), "Not permitted: not on Sundays"),
    (lambda: errors.ClientRequestRefused("too often"), "The client may not be asked: too often"),
    (lambda: errors.OperationNotFound("x"), "Unknown tool: x"),
    (lambda: errors.ResourceNotFound("x"), "Unknown resource: x"),
    (lambda: errors.PromptNotFound("x"), "Unknown prompt: x"),
    (lambda: errors.QuotaExceeded("caller", 1.25), "Rate limit exceeded (caller); retry in 1.2 s"),
    (
        lambda: errors.BudgetExhausted("acme", datetime(2026, 12, 1, tzinfo=UTC), 60.0),
        "The monthly budget of acme does not suffice for this call; a new one begins on 2026-12-01",
    ),
    (lambda: errors.SessionsFull(), "The server cannot open more sessions at the moment"),
    (lambda: errors.BodiesFull(), "The gateway is reading too many large requests; try again in a moment"),
    (lambda: errors.BodyTooLarge(7), "The body is larger than 7 bytes"),
    (lambda: errors.SharedStateUnavailable(), "The gateway cannot reach its sessions at the moment"),
    (lambda: errors.BudgetUnavailable(), "Budgets cannot be checked at the moment"),
    (
        lambda: errors.TaskInterrupted(),
        (
            "The gateway stopped before this call ended, and does not repeat it: it may have taken effect in part. "
            "Look what it did before you call the tool again"
        ),
    ),
    (lambda: errors.ResourceUnreadable(errors.OperationNotFound("x")), "Unknown tool: x"),
]


@pytest.mark.parametrize(("make", "message"), MESSAGES, ids=[message for _, message in MESSAGES])
def test_what_an_error_says_to_people(make: Callable[[], StoaError], message: str) -> None:
    error = make()
    assert error.message == str(error) == message
    assert error.args == (message,)


def test_violations_are_told_with_their_place() -> None:
    violations = [errors.Violation("", "an object"), errors.Violation("/a~1b", "a number")]
    error = errors.InvalidArguments(violations)
    assert error.message == str(error) == "Invalid arguments: (root): an object; /a~1b: a number"
    assert error.violations == tuple(violations)


@pytest.mark.parametrize(
    ("kind", "error"),
    [("tool", errors.OperationNotFound), ("resource", errors.ResourceNotFound), ("prompt", errors.PromptNotFound)],
)
def test_what_is_not_found_is_called_by_its_kind(kind: Any, error: type[errors.OperationNotFound]) -> None:
    found = errors.not_found(kind, "memo://ant")
    assert type(found) is error
    assert (found.kind, found.name, found.message) == (kind, "memo://ant", f"Unknown {kind}: memo://ant")


def test_errors_carry_what_the_doors_need() -> None:
    decision, verdict = Decision(False, "no"), LimitVerdict(False, None)
    quota = errors.QuotaExceeded("tool", 2.5, verdict)
    assert (quota.limit_name, quota.retry_after_seconds, quota.verdict) == ("tool", 2.5, verdict)
    assert errors.QuotaExceeded("tool", 2.5).verdict is None
    budget = errors.BudgetExhausted("acme", datetime(2026, 12, 1, tzinfo=UTC), 60.0)
    assert (budget.limit_name, budget.retry_after_seconds, budget.verdict) == ("budget", 60.0, None)
    assert errors.NotPermitted(decision).decision is decision
    assert errors.ClientRequestRefused("no", decision).decision is decision
    assert errors.ClientRequestRefused("no").decision is None
    assert errors.ClientCapabilityMissing(["roots"]).missing == ("roots",)
    reason = errors.BackendTimedOut("late")
    assert errors.ResourceUnreadable(reason).reason is reason


def test_no_credential_and_a_wrong_one_are_told_apart() -> None:
    assert errors.NotAuthenticated("no token", is_missing=True).is_missing is True
    assert errors.NotAuthenticated("bad token").is_missing is False
    assert errors.NotAuthenticated("bad token").message == "bad token"


def test_errors_that_are_kept_as_values_hold_no_frames() -> None:
    def first(arguments: object) -> None:
        raise InvalidInput("a")

    def then(arguments: object) -> None:
        try:
            first(arguments)
        except InvalidInput as cause:
            raise StoaError("b") from cause

    with pytest.raises(StoaError) as raised:
        then([])
    kept = raised.value
    assert kept.without_traceback() is kept
    assert kept.__traceback__ is None
    assert kept.__cause__ is not None and kept.__cause__.__traceback__ is None
    assert str(kept.__cause__) == "a"
