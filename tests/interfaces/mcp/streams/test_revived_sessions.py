"""Revived sessions: after a restart a session goes on with what its id says, for who began it and nobody else."""

from dataclasses import fields
from typing import Any

import pytest
from tests.interfaces.doors import World, new_world
from tests.interfaces.mcp.streams.test_sessions import ALL, NAME, Client, opened

from stoa.application import Context
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.calls.invocation import BearerToken
from stoa.domain.client_requests.client_request import ClientCapabilities
from stoa.interfaces.mcp.streams.session_ids import LIFETIME_SECONDS, SealedSessionIds
from stoa.testing.clock import ManualClock

EVERYTHING = ClientCapabilities(**{field.name: True for field in fields(ClientCapabilities)})
URL = "https://gw.example/mcp"
ANN = Principal(subject="ann", issuer="i", client="c", tenant=TenantId("acme"), roles=frozenset(), scopes=frozenset())


def process(**parts: Any) -> World:
    """A gateway that has just started, with the secret that all of them have."""
    world = new_world(has_sessions=True, has_sealed_ids=True, ask_timeout_seconds=5, **parts)

    @world.gateway.tool
    async def greet(context: Context) -> str:
        return f"Hello, {(await context.elicit('Who?', NAME)).content['name']}"

    return world


def moved(client: Client, world: World, token: str | None = None) -> Client:
    other = Client(world, token or client.token, client.revision)
    other.id = client.id
    return other


@pytest.mark.parametrize("revision", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
async def test_a_session_is_revived_after_a_restart_with_its_revision_and_capabilities(revision: str) -> None:
    before = await opened(process(), revision=revision)
    world = process()
    after = moved(before, world)
    assert (await after.ask("tools/list")).status == 200
    caller = await world.gateway.callers.authenticate(BearerToken("alpha-admin"))
    assert world.sessions is not None
    assert before.world.sessions is not None
    agreed = await before.world.sessions.find(before.id, caller)
    assert await world.sessions.find(after.id, caller) == agreed
    assert (await after.other("DELETE")).status == 200


async def test_a_session_is_not_revived_for_another_caller() -> None:
    before = await opened(process())
    for token in ("alpha-viewer", "beta-admin", "admin"):
        assert (await moved(before, process(), token).ask("tools/list")).status == 404


async def test_a_session_that_was_ended_is_not_revived() -> None:
    client = await opened(process())
    assert (await client.other("DELETE")).status == 200
    assert (await client.ask("tools/list")).status == 404
    assert (await client.other("GET")).status == 404

    world = process()
    after = moved(await opened(process()), world)
    assert (await after.other("DELETE")).status == 200, "also one that the process has never heard of"
    assert (await after.ask("tools/list")).status == 404


async def test_a_session_that_is_not_used_any_more_is_forgotten_and_revived() -> None:
    client = await opened(process())
    client.world.clock.advance(3600)
    assert (await client.ask("tools/list")).status == 200


def test_a_session_is_revived_within_its_lifetime_alone() -> None:
    clock = ManualClock()
    ids = SealedSessionIds(bytes(32), clock, URL)
    session_id = ids.new_id(ANN, "2025-11-25", ClientCapabilities())
    clock.advance(LIFETIME_SECONDS - 2)
    assert ids.session(session_id, ANN) is not None
    clock.advance(3)
    assert ids.session(session_id, ANN) is None


async def test_revived_sessions_count_against_the_limits() -> None:
    clients = [await opened(process()) for _ in range(60)]
    world = process()  # with room for 50
    for client in clients:
        assert (await moved(client, world).ask("tools/list")).status == 200
    assert world.store is not None
    assert sum([await world.store.find(client.id) is not None for client in clients]) == 50
    assert (await moved(clients[0], world).ask("tools/list")).status == 200, "the idlest made room and comes back"


@pytest.mark.parametrize("capabilities", [ClientCapabilities(), EVERYTHING])
def test_a_sealed_session_id_is_short_visible_ascii_and_never_the_same(capabilities: ClientCapabilities) -> None:
    ids = SealedSessionIds(bytes(32), ManualClock(), URL)
    long = Principal(**{**_fields(ANN), "subject": "s" * 5000, "tenant": TenantId("t" * 60)})
    made = {ids.new_id(long, "2025-11-25", capabilities) for _ in range(20)}
    assert len(made) == 20
    for one in made:
        assert 43 <= len(one) < 256
        assert all("!" <= character <= "~" for character in one)


def _fields(principal: Principal) -> dict[str, Any]:
    return {name: getattr(principal, name) for name in ("subject", "issuer", "client", "tenant", "roles", "scopes")}


def test_a_sealed_session_id_opens_only_as_it_was_made() -> None:
    clock = ManualClock()
    ids = SealedSessionIds(bytes(32), clock, URL)
    session_id = ids.new_id(ANN, "2025-06-18", ClientCapabilities(roots=True))
    session = ids.session(session_id, ANN)
    assert session is not None
    assert (session.id, session.revision, session.hears_only) == (session_id, "2025-06-18", "acme")
    assert session.capabilities == ClientCapabilities(roots=True)
    others = [
        SealedSessionIds(bytes(31) + b"1", clock, URL),
        SealedSessionIds(bytes(32), clock, "https://elsewhere.example/mcp"),
    ]
    assert all(one.session(session_id, ANN) is None for one in others)
    for place in range(0, len(session_id), 7):
        changed = session_id[:place] + ("A" if session_id[place] != "A" else "B") + session_id[place + 1 :]
        assert ids.session(changed, ANN) is None
    for wrong in ("", "s1.", session_id[:-1], session_id + "=", "v2." + session_id[3:], "x" * 60_000, "\ud800"):
        assert ids.session(wrong, ANN) is None
    assert ids.session(session_id, Principal(**{**_fields(ANN), "subject": "bob"})) is None


async def test_an_unknown_session_is_still_not_found() -> None:
    world = process()
    client = Client(world, "alpha-admin", "2025-11-25")
    for client.id in ("x" * 43, "s1.AAAA", "s1." + "A" * 100):
        answer = await client.ask("tools/list")
        assert answer.status == 404
        assert answer.json()["error"]["message"] == "Session not found"


async def test_a_revived_session_asks_its_client_as_before() -> None:
    client = moved(await opened(process(), can=ALL), process())
    answer = await client.ask("logging/setLevel", {"level": "debug"})
    assert answer.status == 200
    assert "error" not in answer.json()
