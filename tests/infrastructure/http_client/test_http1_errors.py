"""Every failure of the HTTP/1.1 client has its place in the gateway's tree."""

from collections.abc import Iterator

import pytest

from stoa.domain.errors import BackendProtocolError, BackendTimedOut, BackendUnavailable
from stoa.infrastructure.http_client import ForbiddenAddress, NameNotResolved
from stoa.infrastructure.http_client.failures import (
    ConnectionLost,
    ConnectTimedOut,
    HttpFailure,
    InvalidResponse,
    NoConnectionFree,
    NotConnected,
    ResponseCutShort,
    ResponseTimedOut,
    ResponseTooLong,
    after_another_request,
)
from stoa.infrastructure.http_client.http1_errors import translated_failure


def kinds(kind: type[HttpFailure]) -> Iterator[type[HttpFailure]]:
    yield kind
    for child in kind.__subclasses__():
        yield from kinds(child)


KINDS = sorted({*kinds(HttpFailure)}, key=lambda kind: kind.__name__)
EXPECTED = {
    ConnectTimedOut: (BackendTimedOut, "did not answer in time"),
    NoConnectionFree: (BackendUnavailable, "all connections to it are in use"),
    NotConnected: (BackendUnavailable, "nothing listens"),
    ResponseTimedOut: (BackendTimedOut, "did not answer in time"),
    ResponseCutShort: (BackendProtocolError, "cut short"),
    ResponseTooLong: (BackendProtocolError, "not HTTP"),
    InvalidResponse: (BackendProtocolError, "not HTTP"),
}


@pytest.mark.parametrize(
    "kind", sorted({*kinds(HttpFailure)}, key=lambda kind: kind.__name__), ids=lambda k: k.__name__
)
def test_http1_failure_of_every_kind_is_translated_without_its_text(kind: type[HttpFailure]) -> None:
    failure = kind(nothing_was_sent=False) if kind is ConnectionLost else kind("secret")  # type: ignore[call-arg]
    error = translated_failure(failure, "global/pets")
    assert error.message.startswith("The back end of global/pets failed: ")
    assert "secret" not in error.message
    if kind in EXPECTED:
        expected, text = EXPECTED[kind]
        assert type(error) is expected
        assert text in error.message
    if isinstance(error, (BackendUnavailable, BackendTimedOut)):
        assert error.nothing_was_sent == failure.nothing_was_sent


@pytest.mark.parametrize("nothing_was_sent", [True, False])
def test_http1_failure_of_a_lost_connection_says_whether_the_call_may_have_taken_effect(nothing_was_sent: bool) -> None:
    error = translated_failure(ConnectionLost(nothing_was_sent=nothing_was_sent), "global/pets")
    assert isinstance(error, BackendUnavailable)
    assert error.nothing_was_sent == nothing_was_sent
    assert ("may have taken effect" in error.message) != nothing_was_sent


@pytest.mark.parametrize(
    ("cause", "kind", "text"),
    [
        (ForbiddenAddress("10.0.0.1"), BackendUnavailable, "in a network that the gateway may not call"),
        (NameNotResolved("api.internal"), BackendUnavailable, "its host name does not resolve"),
        (TimeoutError(110, "ETIMEDOUT"), BackendTimedOut, "did not answer in time"),
        (ConnectionRefusedError(111, "refused"), BackendUnavailable, "nothing listens"),
        (ConnectionResetError(), BackendUnavailable, "closed the connection during the TLS handshake"),
    ],
)
def test_http1_failure_to_connect_has_the_reason_of_its_cause(cause: OSError, kind: type[Exception], text: str) -> None:
    failure = NotConnected("no connection")
    failure.__cause__ = cause
    error = translated_failure(failure, "global/pets")
    assert type(error) is kind
    assert text in error.message
    assert "10.0.0.1" not in error.message


def test_http1_failure_of_a_further_request_does_not_say_that_nothing_was_sent() -> None:
    with pytest.raises(NotConnected) as failed, after_another_request():
        raise NotConnected("nothing listens")
    assert not failed.value.nothing_was_sent


def test_http1_failures_translate_what_else_a_connection_raises() -> None:
    late, lost = translated_failure(TimeoutError(), "global/pets"), translated_failure(BrokenPipeError(), "global/pets")
    assert isinstance(late, BackendTimedOut)
    assert isinstance(lost, BackendUnavailable)
    assert not late.nothing_was_sent
    assert not lost.nothing_was_sent
