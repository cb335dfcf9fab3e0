"""When access tokens for back ends are asked for, kept, renewed, shared and forgotten."""

import asyncio
import math
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.application.upstream import ALICE, ALICE_TOKEN, BOB, BOB_TOKEN, ISSUER, TOKEN_URL, Tokens, oauth_tool

from stoa.application.backends.token_cache import (
    FAILURE_SECONDS,
    LONGEST_LIFETIME_SECONDS,
    MARGIN_SECONDS,
    REFUSED_SECONDS,
    RENEW_SECONDS,
    UNSAID_LIFETIME_SECONDS,
)
from stoa.application.backends.upstream_tokens import UpstreamTokens
from stoa.application.ports import GrantedToken
from stoa.domain.access.identity import Principal
from stoa.domain.calls.invocation import BearerToken
from stoa.domain.errors import (
    BackendProtocolError,
    BackendTimedOut,
    BackendUnavailable,
    InvalidInput,
    UpstreamAccessDenied,
)
from stoa.domain.operations.tool import Authentication, Tool

LIFETIME = 300.0


@pytest.fixture
def at() -> Tokens:
    return Tokens()


async def test_a_token_is_kept_and_renewed_before_it_ends_while_calls_go_on(at):
    first = await at.own().token()
    at.clock.advance(LIFETIME - RENEW_SECONDS - 1)
    assert await at.own().token() == first
    at.clock.advance(1)
    at.server.gate = asyncio.Event()
    assert [await at.own().token() for _ in range(5)] == [first] * 5
    await at.settle()
    assert len(at.server.asked) == 2
    at.server.gate.set()
    await at.settle()
    second = await at.own().token()
    assert second != first
    assert len(at.server.asked) == 2


async def test_a_token_that_cannot_be_renewed_is_used_almost_to_its_end_and_no_longer(at):
    first = await at.own().token()
    at.server.failure = BackendUnavailable("away")
    at.clock.advance(LIFETIME - MARGIN_SECONDS - 0.001)
    assert await at.own().token() == first
    await at.settle()
    assert await at.own().token() == first
    await at.settle()
    assert len(at.server.asked) == 2
    at.clock.advance(FAILURE_SECONDS)
    with pytest.raises(BackendUnavailable, match="away"):
        await at.own().token()


async def test_own_access_is_for_requests_that_no_call_causes_and_shares_the_tokens_of_calls(at):
    tool = oauth_tool()
    access = at.tokens.own_access(tool.authentication, tool.tenant)
    assert await access.token() == await at.own().token()
    assert len(at.server.asked) == 1
    exchange = oauth_tool(type="tokenExchange", audience="pets")
    assert at.tokens.own_access(exchange.authentication, exchange.tenant) is None
    assert at.tokens.own_access(Authentication(), None) is None


async def test_a_token_is_not_used_at_the_end_of_its_time(at):
    first = await at.own().token()
    at.clock.advance(LIFETIME - MARGIN_SECONDS)
    assert await at.own().token() != first


def test_an_issuer_may_be_written_with_a_closing_slash(at):
    tokens = UpstreamTokens(at.server, at.credentials, at.clock, issuers=[f"{ISSUER}/"])
    bind = tokens.prepare(oauth_tool(type="tokenExchange", audience="pets"))
    assert bind(ALICE.model_copy(update={"issuer": f"{ISSUER}/"}), BearerToken(ALICE_TOKEN))


async def test_many_calls_at_once_cause_one_request_and_none_that_goes_away_takes_it_along(at):
    at.server.gate = asyncio.Event()
    waiting = [asyncio.create_task(access.token()) for access in [at.own() for _ in range(20)]]
    await at.settle()
    waiting[0].cancel()
    at.server.gate.set()
    tokens = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(tokens[0], asyncio.CancelledError)
    assert len({*tokens[1:]}) == len(at.server.asked) == 1


@pytest.mark.parametrize("kind", [BackendUnavailable, BackendTimedOut, BackendProtocolError, UpstreamAccessDenied])
async def test_a_failure_is_remembered_for_a_moment_and_told_to_each_anew(at, kind):
    at.server.failure = kind("no")
    told = await asyncio.gather(*(at.own().token() for _ in range(5)), return_exceptions=True)
    with pytest.raises(kind, match="no") as again:
        await at.own().token()
    assert [type(error) for error in told] == [kind] * 5
    assert len({id(error) for error in (*told, again.value)}) == 6
    assert len(at.server.asked) == 1
    at.server.failure = None
    at.clock.advance(FAILURE_SECONDS)
    assert await at.own().token()


async def test_one_token_of_a_caller_is_not_judged_by_another(at):
    with pytest.raises(UpstreamAccessDenied):
        await at.exchanged(ALICE, "a token that was revoked").token()
    token = await at.exchanged(ALICE, ALICE_TOKEN).token()
    assert await at.exchanged(ALICE, "her next token").token() == token


async def test_a_rotated_secret_is_used_at_once_and_the_old_one_brings_nothing_back(at):
    first = await at.own().token()
    at.set_secret("hunter3")
    second = await at.own().token()
    assert second != first
    assert [request.client_secret for request in at.server.asked] == ["hunter2", "hunter3"]


async def test_a_secret_that_is_gone_ends_the_use_of_its_token(at):
    await at.own().token()
    at.credentials.remove("acme", "pets")
    with pytest.raises(BackendUnavailable, match=r"pets .*clientId.*acme"):
        await at.own().token()


class TestRefused:
    async def test_a_refused_token_is_dropped_once_for_all_who_hold_it(self, at):
        one, other = at.own(), at.own()
        token = await one.token()
        assert await other.token() == token
        at.clock.advance(REFUSED_SECONDS)
        assert one.refused(token)
        renewed = await one.token()
        assert other.refused(token)
        assert await other.token() == renewed != token

    async def test_a_token_refused_right_after_it_was_granted_is_not_replaced(self, at):
        access = at.own()
        token = await access.token()
        assert not access.refused(token)
        assert await access.token() == token
        assert len(at.server.asked) == 1


@given(st.none() | st.floats(0, 1e300) | st.floats(0, 10))
async def test_no_token_is_used_longer_than_it_lasts(lifetime):
    at = Tokens()
    at.server.lifetime_seconds = lifetime
    first = await at.own().token()
    said = UNSAID_LIFETIME_SECONDS if lifetime is None else min(lifetime, LONGEST_LIFETIME_SECONDS)
    at.clock.advance(math.ceil(said * 1e3) / 1e3 + 0.001)  # wall time has no finer steps that count
    at.server.gate = asyncio.Event()
    at.server.gate.set()
    assert await at.own().token() != first


async def test_the_number_of_kept_tokens_and_failures_is_bounded():
    at = Tokens(max_tokens=3)
    people = [Principal.of(f"p{n}", tenant="acme", issuer=ISSUER) for n in range(10)]
    elsewhere = oauth_tool(type="tokenExchange", audience="money")
    for person in people:
        await at.exchanged(person).token()
        with pytest.raises(UpstreamAccessDenied):
            await at.access(elsewhere, person, BearerToken(ALICE_TOKEN)).token()
    asked = len(at.server.asked)
    for person in people[-3:]:
        await at.exchanged(person).token()
    assert len(at.server.asked) == asked
    for person in people[-3:]:
        with pytest.raises(UpstreamAccessDenied):
            await at.access(elsewhere, person, BearerToken(ALICE_TOKEN)).token()
    assert len(at.server.asked) == asked
    await at.exchanged(people[0]).token()
    assert len(at.server.asked) == asked + 1


async def test_closing_ends_what_is_under_way(at):
    at.server.gate = asyncio.Event()
    waiting = asyncio.create_task(at.own().token())
    await at.settle()
    await at.tokens.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


class TestExchange:
    async def test_it_is_in_the_callers_name_and_for_the_back_end_alone(self, at):
        issued = at.server.issued[await at.exchanged().token()]
        assert (issued.subject, issued.audience, issued.client_id) == ("alice", "pets", "gateway")

    def test_a_caller_without_a_token_is_told_what_is_missing(self, at):
        with pytest.raises(UpstreamAccessDenied, match=r"acme/pets .*bearer token"):
            at.access(oauth_tool(type="tokenExchange", audience="pets"), ALICE, None)

    @pytest.mark.parametrize(
        "url",
        [
            "https://evil.example/token",
            "https://auth.example/realms/evil/token",
            "https://auth.example/realms/stoa-evil/token",
            "https://auth.example.evil.example/realms/stoa/token",
        ],
    )
    def test_a_callers_token_goes_to_its_own_issuer_only(self, at, url):
        with pytest.raises(InvalidInput, match=r"authentication.tokenUrl: .*https://auth\.example/realms/stoa"):
            at.tokens.prepare(oauth_tool(type="tokenExchange", audience="pets", token_url=url))
        at.tokens.prepare(oauth_tool(token_url=url))  # the client's own credentials are the tenant's to give

    def test_a_token_of_another_issuer_is_not_shown_to_this_one(self, at):
        foreign = ALICE.model_copy(update={"issuer": "https://other.example"})
        with pytest.raises(UpstreamAccessDenied, match="another issuer"):
            at.exchanged(foreign)

    async def test_a_server_that_gives_the_callers_own_token_back_is_not_believed(self, at):
        async def lazy(request):
            return GrantedToken(request.subject.value, 300)

        at.server.grant = lazy
        with pytest.raises(BackendProtocolError) as refused:
            await at.exchanged().token()
        assert ALICE_TOKEN not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(("field", "value"), [("grant", None), ("secret", None)])
def test_a_tool_that_lacks_something_is_refused_at_registration(at, field, value):
    tool = oauth_tool()
    broken = tool.model_copy(update={"authentication": tool.authentication.model_copy(update={field: value})})
    with pytest.raises(InvalidInput, match="authentication"):
        at.tokens.prepare(broken)


uses = st.fixed_dictionaries(
    {
        "caller": st.sampled_from([(ALICE, ALICE_TOKEN), (BOB, BOB_TOKEN)]),
        "is_exchange": st.booleans(),
        "tenant": st.sampled_from([None, "acme", "beta"]),
        "secret": st.sampled_from([("gateway", "hunter2"), ("gatewayh", "unter2"), ("gateway", "hunter3")]),
        "audience": st.sampled_from([None, "pets", "cats"]),
        "scopes": st.sampled_from([(), ("read",), ("read", "write")]),
        "url": st.sampled_from([TOKEN_URL, f"{TOKEN_URL}2"]),
        "pause": st.sampled_from([0, 0, 1, 250, 295]),
    }
)


@given(st.lists(uses, max_size=15))
async def test_nobody_gets_a_token_that_was_granted_for_anything_else(sequence):
    """Tools, tenants, callers, secrets (rotated back and forth) and time in any order: what a call gets was granted for
    its own request, to the last part."""
    at = Tokens()
    asked_for = {}

    async def grant(request):
        token = f"granted-{len(asked_for)}"
        asked_for[token] = (request, at.clock.now())
        return GrantedToken(token, 300)

    at.server.grant = grant
    users: dict[str, set[object]] = {}
    for use in sequence:
        at.clock.advance(use["pause"])
        client, secret = use["secret"]
        at.set_secret(secret, use["tenant"], client)
        kind = {"type": "tokenExchange"} if use["is_exchange"] else {}
        if use["is_exchange"] and use["audience"] is None:
            continue
        tool: Tool = oauth_tool(
            tenant=use["tenant"], token_url=use["url"], audience=use["audience"], scopes=use["scopes"], **kind
        )
        principal, value = use["caller"]
        token = await at.access(tool, principal, BearerToken(value)).token()
        request, granted_at = asked_for[token]
        assert (request.url, request.client_id, request.client_secret) == (use["url"], client, secret)
        assert (request.audience, request.scopes) == (use["audience"], use["scopes"])
        assert (request.subject and request.subject.value) == (value if use["is_exchange"] else None)
        assert (at.clock.now() - granted_at).total_seconds() <= 300 - MARGIN_SECONDS
        users.setdefault(token, set()).add((use["tenant"], principal.subject if use["is_exchange"] else None))
        await at.settle()
    assert all(len(owners) == 1 for owners in users.values())
