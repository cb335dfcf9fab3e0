"""Clients that lose all their connections at once and come back while messages are sent: `python -m bench sessions`
with a smaller crowd."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import bench.session_server
from bench.crowd import allow_connections, listen
from bench.session_server import WATCHED
from bench.sessions import MAX_LISTENERS, SessionServer, crowd, storm
from tests.e2e import forkserver


class ForkedServer(SessionServer):
    def command(self) -> Sequence[str]:
        return forkserver.command(bench.session_server.__file__, str(self.port))


async def test_no_message_is_lost_or_repeated_when_all_clients_are_cut_off_and_come_back(tmp_path: Path) -> None:
    server = ForkedServer("", tmp_path / "server")
    try:
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(60), crowd(server.doors(50), 50, WATCHED) as sessions:
            seen = await storm(server.doors(1)[0], sessions, storms=2, pause_ms=100)
    finally:
        server.stop()
    assert seen.failures == ()
    assert (seen.connections, len(seen.back_seconds)) == (98, 2)
    assert seen.messages >= 6


async def test_a_listener_too_many_is_told_to_come_back_later_and_a_place_that_is_left_is_free_again(
    tmp_path: Path,
) -> None:
    allow_connections(2 * MAX_LISTENERS)
    server = ForkedServer("", tmp_path / "server")
    try:
        await asyncio.to_thread(server.start)
        doors = server.doors(MAX_LISTENERS + 1)
        async with asyncio.timeout(60):
            wires = [await listen(doors[number % len(doors)], number) for number in range(MAX_LISTENERS)]
            assert {wire.status for wire in wires} == {200}
            refused = await listen(doors[-1], "one too many")
            assert refused.status == 429
            assert (await refused.body())["error"]["message"].startswith("A tenant has at most 1024 listen streams")
            wires[0].cut()
            while (again := await listen(doors[0], "again")).status == 429:
                again.cut()  # the server hears of the place in a moment
            assert again.status == 200
            for wire in (*wires, refused, again):
                wire.cut()
    finally:
        server.stop()
