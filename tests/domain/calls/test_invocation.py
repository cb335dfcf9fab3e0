"""How an invocation ended, and what does not show of it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from stoa.domain.access.identity import Principal
from stoa.domain.calls.invocation import BearerToken, Caller, Outcome, token_of
from stoa.domain.errors import ContentUnavailable, StoaError
from stoa.domain.metering.event import MeteringEvent, Status
from stoa.domain.metering.money import MicroUnits
from stoa.domain.results.result import ImageContent, TextContent, ToolResult

ANN = Principal.of("ann", tenant="acme", roles=["viewer"])
PICTURE = ImageContent("AAAA", "image/png")


def outcome(result: ToolResult | None, error: StoaError | None = None) -> Outcome:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    event = MeteringEvent(
        event_id="e", timestamp=moment, tenant="-", user_id="-", tool="t", latency_ms=0, status=Status.SUCCESS
    )
    ended: dict[str, Any] = {"decision": None, "principal": None, "request_id": "r", "latency_ms": 0}
    return Outcome(status=Status.SUCCESS, result=result, error=error, cost=MicroUnits(0), event=event, **ended)


def test_token_of_a_credential_is_the_one_that_proved_the_caller() -> None:
    token = BearerToken("t")
    assert [token_of(known) for known in (token, Caller(ANN, token))] == [token, token]
    assert [token_of(unknown) for unknown in (Caller(ANN, None), ANN, None)] == [None, None, None]


def test_caller_does_not_show_its_token() -> None:
    assert "secret" not in repr(Caller(ANN, BearerToken("secret")))


def test_contents_are_the_result() -> None:
    result = ToolResult((TextContent("x"),))
    assert outcome(result).content() is result


def test_a_refusal_of_contents_is_raised_as_it_is() -> None:
    refusal = StoaError("no")
    with pytest.raises(StoaError) as raised:
        outcome(None, refusal).content()
    assert raised.value is refusal
    with pytest.raises(StoaError, match=r"^Internal error$"):
        outcome(None).content()


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ((TextContent("gone"), PICTURE, TextContent("for good")), "gone\nfor good"),
        ((PICTURE,), "The back end answered with an error"),
        ((TextContent(""),), "The back end answered with an error"),
    ],
)
def test_contents_that_are_an_error_are_raised_with_what_the_back_end_said(blocks: Any, message: str) -> None:
    with pytest.raises(ContentUnavailable) as raised:
        outcome(ToolResult(blocks, is_error=True)).content()
    assert raised.value.message == message


@pytest.mark.parametrize("show", [repr, str, "{}".format])
def test_a_bearer_token_does_not_show(show: Any) -> None:
    assert show(BearerToken("hunter2")) == "BearerToken(***)"
    assert BearerToken("hunter2").value == "hunter2"
