"""Hostile back ends beside an honest tenant: `python -m tools.quality.hostile_peers [--only WORD]`.

A gateway in this process is called by one tenant, whose back end misbehaves in one way after another, and by another
tenant, whose back end is honest. For each way it prints how the hostile call ended, its metering events, the longest
round of the event loop, the 99th percentile of what the loop's thread computed while an honest call ran, for whomever,
and how many honest calls failed. All times are processor time of that thread, so that other work on the machine counts
little.
"""

import argparse
import asyncio
import logging
import re
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tools.quality.hostile_peer import GRAPHQL, MCP, STDIO

from stoa.application.gateway import Gateway
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.domain.access.identity import Principal
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.infrastructure.graphql import GraphQlBackend, GraphQlSpecKind
from stoa.infrastructure.mcp_upstream import McpBackend, McpSpecKind, McpUpstreams
from stoa.infrastructure.worker_process import ProcessExecutor

PEER = str(Path(__file__).with_name("hostile_peer.py"))
SDL = "type Query { books(name: String): [Book!] } type Book { id: ID!, title: String }"
SECONDS = 4
"""The timeout of the hostile tool: what does not end by a bound ends by it."""
PACE_SECONDS = 0.01
HONEST_CALLERS = 10
"""So that none of them meets its rate limit."""
_CODE = re.compile(r"\[(\w+)\]$")
"""An error code at the end of a result's text."""


@contextmanager
def _peer(transport: str, way: str) -> Generator[str]:
    process = subprocess.Popen(
        [sys.executable, PEER, transport, way], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
    finally:
        process.kill()
        process.wait()


@contextmanager
def _source(transport: str, way: str) -> Generator[dict[str, Any]]:
    """The member of a ToolSet that names the peer."""
    if transport == "stdio":
        yield {"mcp": {"command": sys.executable, "args": [PEER, transport, way], "protocolVersion": "2025-11-25"}}
        return
    with _peer(transport, way) as url:
        if transport == "graphql":
            yield {"graphQL": {"inline": SDL, "endpoint": url}}
        else:
            yield {"mcp": {"url": url, "protocolVersion": "2025-11-25"}}


@asynccontextmanager
async def _gateway(sources: dict[str, dict[str, Any]], sink: InMemoryMeteringSink) -> AsyncGenerator[Gateway]:
    credentials, executor = InMemoryCredentialSource(), ProcessExecutor()
    upstreams = McpUpstreams(credentials)
    gateway = Gateway(
        backends=[GraphQlBackend(credentials), McpBackend(upstreams)],
        spec_kinds=[GraphQlSpecKind(credentials, executor=executor), McpSpecKind(upstreams)],
        executor=executor,
        sink=sink,
    )
    try:
        for name, source in sources.items():
            spec = {**source, "naming": {"prefix": f"{name}_"}, "toolDefaults": {"timeout": f"{SECONDS}s"}}
            head = {"apiVersion": "gostoa.dev/v1alpha1", "kind": "ToolSet", "metadata": {"name": name}}
            await gateway.add_manifest({**head, "spec": spec}, origin=name)
        yield gateway
    finally:
        await gateway.close()
        await executor.close()


async def _called(gateway: Gateway, tool: str, caller: Principal) -> Outcome:
    invocation = Invocation(credential=caller, name=tool, arguments={}, door="library")
    return await gateway.invoke_operation.execute(invocation, None)


class _Rounds:
    """Looks at each round of the loop."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest, before = max(self.longest, now - before), now


async def _measure(transport: str, way: str) -> None:
    sink, rounds, spent, failed = InMemoryMeteringSink(), _Rounds(), list[float](), 0
    evil, *honest = (Principal.of(name, roles=["cpi-admin"]) for name in ("evil", *map(str, range(HONEST_CALLERS))))
    with _source(transport, way) as hostile, _peer("graphql", "good") as good:
        sources = {"evil": hostile, "honest": {"graphQL": {"inline": SDL, "endpoint": good}}}
        async with _gateway(sources, sink) as gateway:
            bad = "evil_books" if transport == "graphql" else "evil_bad"
            await _called(gateway, "honest_books", honest[0])
            if transport != "graphql":
                await _called(gateway, "evil_good", evil)
            watching = asyncio.create_task(rounds.watch())
            attack = asyncio.create_task(_called(gateway, bad, evil))
            while not attack.done():
                began = time.thread_time()
                caller = honest[len(spent) % HONEST_CALLERS]
                failed += (await _called(gateway, "honest_books", caller)).status.value != "success"
                spent.append(time.thread_time() - began)
                await asyncio.sleep(PACE_SECONDS)
            watching.cancel()
            outcome = attack.result()
            events = sum(event.tool == bad for event in sink.events())
    p99 = sorted(spent)[int(0.99 * (len(spent) - 1))]
    text = " ".join(getattr(block, "text", "") for block in (outcome.result.content if outcome.result else ()))
    code = _CODE.search(text)
    cells = (
        transport,
        way,
        code[1] if code else outcome.status.value,
        events,
        f"{rounds.longest * 1e3:.1f}",
        f"{p99 * 1e3:.2f}",
    )
    print(f"| {' | '.join(map(str, cells))} | {failed} of {len(spent)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Hostile back ends beside an honest tenant.")
    parser.add_argument("--only", default="", help="ways whose transport or name has this word")
    only = parser.parse_args().only
    logging.disable(logging.CRITICAL)
    print("| transport | the peer sends | ends with | events | longest round, ms | p99 of honest calls, ms | failed |")
    print("|---|---|---|---|---|---|---|")
    for transport, ways in (("graphql", GRAPHQL), ("mcp", MCP), ("stdio", STDIO)):
        for way in ways:
            if only in f"{transport} {way}":
                asyncio.run(_measure(transport, way))


if __name__ == "__main__":
    main()
