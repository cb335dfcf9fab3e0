"""What only a token endpoint over HTTP can do: be slow, talk nonsense, or be where the gateway may not connect to."""

import asyncio
import json
import traceback
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.infrastructure.http_client.token_peer import EXCHANGE, OAuthPeer, form_of, jwt, oauth_peer, refusal
from tests.infrastructure.rest.loopback import Last, answer

from stoa.application.ports import GrantedToken, TokenRequest
from stoa.domain.calls.invocation import BearerToken
from stoa.domain.errors import (
    BackendProtocolError,
    BackendTimedOut,
    BackendUnavailable,
    StoaError,
    UpstreamAccessDenied,
)
from stoa.infrastructure.http_client import PUBLIC_ONLY, OutboundRules
from stoa.infrastructure.http_client.token_endpoint import MAX_ANSWER_BYTES, HttpTokenEndpoint

SECRET, ALICE = "s3cret", BearerToken("t0ken-of-alice")


def request(peer: OAuthPeer, **changed: object) -> TokenRequest:
    return TokenRequest(**{"url": peer.url, "client_id": "gateway", "client_secret": SECRET, **changed})


async def granted(instead: object, *, timeout_seconds: float = 10.0, **changed: object) -> GrantedToken:
    """What the adapter makes of this answer."""
    async with oauth_peer() as peer:
        peer.instead = instead
        endpoint = HttpTokenEndpoint(timeout_seconds=timeout_seconds)
        try:
            async with asyncio.timeout(20):
                return await endpoint.grant(request(peer, **changed))
        finally:
            await endpoint.close()


def said(**changed: object) -> bytes:
    whole = {"access_token": "abc", "token_type": "Bearer", "expires_in": 60, **changed}
    return answer(json.dumps({name: value for name, value in whole.items() if value is not None}).encode())


async def test_the_request_is_as_the_standards_write_it():
    async with oauth_peer() as peer:
        peer.clients["gateway"], peer.subjects[ALICE.value] = (SECRET, frozenset({"pets"})), "alice"
        endpoint = HttpTokenEndpoint()
        await endpoint.grant(request(peer, url=f"{peer.url}?p=1", audience="pets", scopes=("a", "b"), subject=ALICE))
        await endpoint.close()
    (seen,) = peer.server.seen
    assert seen.target.endswith("/token?p=1")
    assert form_of(seen) == {
        "grant_type": EXCHANGE,
        "audience": "pets",
        "scope": "a b",
        "subject_token": ALICE.value,
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
    }
    assert SECRET not in seen.target
    assert SECRET not in seen.body.decode()


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [(60, 60), ("60", 60), (0, 0), (-5, 0), (1.5, 1.5), (None, None), (True, None), ("soon", None), ([], None)],
)
async def test_a_lifetime_is_read_where_it_is_one(expires_in, lifetime):
    assert (await granted(said(expires_in=expires_in))).lifetime_seconds == lifetime


@pytest.mark.parametrize(
    "instead",
    [
        answer(b""),
        answer(b"null"),
        answer(b"[]"),
        answer(b"<html>s3cret</html>"),
        said(access_token=None),
        said(access_token=7),
        said(access_token=""),
        said(access_token="a b"),
        said(access_token="a\r\nX-Evil: 1"),
        said(access_token="ä"),
        said(access_token="a" * 20_000),
        said(token_type=None),
        said(token_type="N_A"),
        said(token_type="DPoP"),
        answer(b" " * (MAX_ANSWER_BYTES + 1)),
        answer(b"{}", status="204 No Content"),
        answer(b"{}", status="302 Found", more="Location: http://127.0.0.1:1/elsewhere\r\n"),
        answer(b"{}", status="404 Not Found"),
        answer(b"bad", status="400 Bad Request"),
        refusal("s3cret"),
        b"garbage\r\n\r\n",
        Last(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
    ],
)
@pytest.mark.parametrize("subject", [None, ALICE])
async def test_what_is_no_answer_of_a_token_endpoint_yields_no_token_and_is_not_repeated(instead, subject, caplog):
    with pytest.raises(BackendProtocolError) as refused:
        await granted(instead, subject=subject, audience="pets")
    shown = "".join(traceback.format_exception(refused.value)) + repr(refused.value.__context__) + caplog.text
    assert not any(text in shown for text in ("s3cret", "X-Evil", "html", ALICE.value))


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 Internal Server Error", "503 Service Unavailable"])
async def test_a_server_in_trouble_is_unavailable(status):
    with pytest.raises(BackendUnavailable, match="at the moment"):
        await granted(refusal("invalid_grant", status))


@pytest.mark.parametrize("subject", [None, ALICE])
@pytest.mark.parametrize(
    "instead",
    [
        answer(b"no", status="401 Unauthorized"),
        refusal("invalid_client"),
        refusal("unauthorized_client", "403 Forbidden"),
    ],
)
async def test_a_client_that_is_not_accepted_is_the_gateways_fault_whoever_calls(instead, subject):
    with pytest.raises(BackendUnavailable, match="clientSecret"):
        await granted(instead, subject=subject)


async def test_the_log_names_the_endpoint_and_the_registered_error_and_no_description(caplog):
    with pytest.raises(UpstreamAccessDenied):
        await granted(refusal("invalid_grant", error_description="t0ken-of-alice expired"), subject=ALICE)
    assert "invalid_grant" in caplog.text
    assert "gateway" in caplog.text
    assert ALICE.value not in caplog.text


@pytest.mark.parametrize(
    ("token", "is_good"),
    [
        ("opaque", True),
        ("not.a.jwt", True),
        ("a.=.c", True),
        (jwt({"aud": "pets"}), True),
        (jwt({"aud": ["pets", "account"]}), True),
        (jwt({}), True),
        (jwt({"aud": "stoa-mcp-gateway"}), False),
        (jwt({"aud": ["stoa-mcp-gateway", "account"]}), False),
        (jwt({"aud": 7}), False),
    ],
)
async def test_an_exchanged_token_that_says_it_is_for_another_audience_is_not_used(token, is_good):
    exchange = {"subject": ALICE, "audience": "pets"}
    if is_good:
        assert (await granted(said(access_token=token), **exchange)).value == token
    else:
        with pytest.raises(BackendProtocolError, match="another audience"):
            await granted(said(access_token=token), **exchange)
    assert (await granted(said(access_token=token))).value == token


@pytest.mark.parametrize("kind", ["urn:ietf:params:oauth:token-type:refresh_token", "x", 7, {}])
async def test_an_exchange_that_yields_another_kind_of_token_is_not_used(kind):
    with pytest.raises(BackendProtocolError, match="not an access token"):
        await granted(said(issued_token_type=kind), subject=ALICE)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(200, 599).filter(lambda status: status not in {204, 304}),
    st.binary(max_size=80)
    | st.dictionaries(
        st.sampled_from(["access_token", "token_type", "expires_in", "error"]),
        st.none() | st.booleans() | st.floats() | st.text(max_size=9) | st.sampled_from(["bearer", "invalid_grant"]),
    ).map(lambda it: json.dumps(it).encode()),
    st.sampled_from([None, ALICE]),
)
def test_whatever_it_answers_a_usable_token_or_an_error_of_ours_comes_of_it(status, body, subject):
    async def ask() -> None:
        with suppress(StoaError):
            token = await granted(answer(body, status=f"{status} X"), subject=subject)
            assert status == 200
            assert token.value
            assert token.value.isascii()
            assert token.value.isprintable()

    asyncio.run(ask())


async def test_a_silent_server_is_given_up():
    never = asyncio.get_running_loop().create_future()
    with pytest.raises(BackendTimedOut):
        await granted(never, timeout_seconds=0.05)


@pytest.mark.parametrize("rules", [PUBLIC_ONLY, OutboundRules.parse(["10.0.0.0/8"])])
async def test_an_address_outside_the_rules_is_not_connected_to(rules, caplog):
    async with oauth_peer() as peer:
        endpoint = HttpTokenEndpoint(rules)
        with pytest.raises(BackendUnavailable, match="may not call") as refused:
            await endpoint.grant(request(peer))
        await endpoint.close()
    assert peer.server.connections == 0
    assert "127.0.0.1" not in refused.value.message
    assert "OUTBOUND_NETWORKS" in caplog.text


async def test_nothing_goes_to_a_public_address_in_clear_text(caplog):
    endpoint = HttpTokenEndpoint()
    with pytest.raises(BackendUnavailable, match="may not call"):
        await endpoint.grant(TokenRequest("http://8.8.8.8/token", "gateway", SECRET))
    await endpoint.close()
    assert "https://" in caplog.text


async def test_a_secret_that_is_no_text_is_named_and_not_shown():
    broken = f"{SECRET}\udcff"
    with pytest.raises(BackendUnavailable, match="clientSecret") as refused:
        await granted(None, client_secret=broken)
    assert SECRET not in "".join(traceback.format_exception(refused.value)) + repr(refused.value.__context__)
