"""A hostile tenant and strangers beside an honest tenant: `make soak`, or `python -m tools.quality.soak --seconds
300`.

The honest tenant calls one tool at a steady pace: first alone (quiet), then with a process beside that only computes
(spinner), which tells what a processor less changes, then while all attacks run at once (attacked).
Each attack is one that a gateway without bounds does not survive: exponential arguments, backtracking patterns, floods
of refused calls, YAML bombs, catalogues of ten thousand tools that change all the time, answers that are not read,
bodies that do not end, large JSON from strangers, sessions and streams without end, endless heads, names that do not
resolve.

Passed: the honest tenant's 99th percentile stays within `--factor` times its quiet value, no honest call fails, and
the gateway stays below `--memory` MB. The attackers' own process has the scheduling class SCHED_IDLE, because it
shares the processors with the gateway here, as attackers do nowhere else; all that the gateway and its processes do
for them counts.

These are times on the wall, which mean little while others work on the machine. With `--realtime`, which takes the
rights of root, the gateway's threads and the honest tenant have the scheduling class SCHED_RR, so that others' work
does not delay them. Beside the times stands what the gateway computed during each call, for whomever: where the gateway
itself is the reason for a long call, that is long too.
"""

import argparse
import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.quality import turns as recorded
from tools.quality.fuzz import SCHEMAS, Client, Request
from tools.quality.gateway import STOA, Gateway, serving, start_upstream, tool

HONEST, HOSTILE = "acme", "evil"
PACE_SECONDS = 0.02
MIB = 2**20


@dataclass
class Target:
    """The gateway as the attackers see it."""

    port: int
    token: str
    folder: Path
    done: Counter[str] = field(default_factory=Counter[str])

    def rpc(
        self, method: str, params: Any, token: str | None, *, batch: int = 0, version: str | None = None
    ) -> Request:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        body = json.dumps([message] * batch if batch else message).encode()
        return self.post("/mcp", body, token, version)

    def call(self, name: str, arguments: Any, token: str | None) -> Request:
        return self.post(f"/mcp/v1/tools/{name}/invoke", json.dumps({"arguments": arguments}).encode(), token)

    def post(self, path: str, body: bytes, token: str | None, version: str | None = None) -> Request:
        headers = [
            ("Host", f"127.0.0.1:{self.port}"),
            ("Content-Type", "application/json"),
            ("Accept", "application/json"),
        ]
        headers += [("Authorization", f"Bearer {token}")] if token else []
        headers += [("MCP-Protocol-Version", version)] if version else []
        return Request("POST", path, headers, body)


async def exponential_arguments(target: Target) -> None:
    value: Any = {"op": "eq", "field": 1}
    for _ in range(20):
        value = {"op": "not", "of": value}
    await _repeat(target, "exponential arguments", target.call("recursive", {"filter": value}, target.token), 0.2)


async def doubled_chain(target: Target) -> None:
    await _repeat(target, "doubled allOf chain", target.call("chain", {"a": 1}, target.token), 0.2)


async def backtracking(target: Target) -> None:
    arguments = {"ahead": "a" * 49 + "!", "mail": "a." * 24 + "@", "word": "a" * 49 + "!"}
    await _repeat(target, "backtracking patterns", target.call("regex", arguments, target.token), 0.2)


async def refused_batches(target: Target) -> None:
    request = target.rpc("tools/call", {"name": "victim"}, None, batch=50, version="2025-03-26")
    await _repeat(target, "batches of a stranger", request, 0.0)


async def refused_calls(target: Target) -> None:
    await _repeat(target, "unknown tools of the hostile tenant", target.call("x" * 100, {}, target.token), 0.0)


async def large_bodies(target: Target) -> None:
    body = b'{"arguments":{"a":[' + b"1," * (2 * MIB - 100) + b"1]}}"
    await _repeat(target, "4 MiB of JSON from a stranger", target.post("/mcp", body, None), 0.25)


async def large_arguments(target: Target) -> None:
    body = b'{"arguments":{"tags":[' + b"1," * MIB + b"1]}}"
    await _repeat(
        target,
        "2 MiB of JSON from the hostile tenant",
        target.post("/mcp/v1/tools/plain/invoke", body, target.token),
        1,
    )


async def yaml_bombs(target: Target) -> None:
    bombs = itertools.cycle([_merge_bomb(), _alias_bomb(), "a: " + "[" * 5000])
    for bomb in bombs:
        (target.folder / "bomb.yaml").write_text(bomb)
        target.done["manifests that explode"] += 1
        await asyncio.sleep(2)


async def large_catalogue(target: Target) -> None:
    """Ten thousand tools, all of them others than before."""
    for version in itertools.count():
        (target.folder / "large.yaml").write_text(await asyncio.to_thread(_large_manifest, version))
        target.done["manifests of ten thousand tools"] += 1
        await asyncio.sleep(15)


async def unread_answers(target: Target) -> None:
    request = target.call("large", {}, target.token).encoded()
    await _hold(target, "answers that are not read", request * 20, 12)


async def unfinished_bodies(target: Target) -> None:
    request = target.post("/mcp", b"x" * (4 * MIB), None).encoded()[:-1]
    await _hold(target, "bodies that do not end", request, 40)


async def unfinished_heads(target: Target) -> None:
    await _hold(target, "heads that do not end", b"POST /mcp HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 50_000, 20)


async def sessions(target: Target) -> None:
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    await _repeat(target, "sessions", target.rpc("initialize", params, target.token), 0.0)


async def streams(target: Target) -> None:
    params = {
        "notifications": {"toolsListChanged": True},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    }
    request = target.rpc("subscriptions/listen", params, target.token, version="2026-07-28")
    request.headers = [pair for pair in request.headers if pair[0] != "Accept"]
    request.headers += [("Accept", "text/event-stream"), ("Mcp-Method", "subscriptions/listen")]
    await _hold(target, "streams", request.encoded(), 100)


async def unresolvable_names(target: Target) -> None:
    await _repeat(target, "names that do not resolve", target.call("unresolvable", {}, target.token), 0.1)


ATTACKS: tuple[Callable[[Target], Awaitable[None]], ...] = (
    exponential_arguments,
    doubled_chain,
    backtracking,
    refused_batches,
    refused_calls,
    large_bodies,
    large_arguments,
    yaml_bombs,
    large_catalogue,
    unread_answers,
    unfinished_bodies,
    unfinished_heads,
    sessions,
    streams,
    unresolvable_names,
)
NAMES = tuple(attack.__name__ for attack in ATTACKS)


async def _repeat(target: Target, name: str, request: Request, pause_seconds: float) -> None:
    """Send `request` again and again, at most 200 times a second."""
    client = Client(target.port)
    while True:
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError, ValueError):
            async with asyncio.timeout(10):
                status, *_ = await client.send(request)
                target.done[f"{name}: {status}"] += 1
                if status >= 400:
                    await asyncio.sleep(0.005)
        await asyncio.sleep(max(0.005, pause_seconds))


async def _hold(target: Target, name: str, request: bytes, connections: int) -> None:
    """Keep `connections` open, each with `request` sent as far as it is taken, and read nothing."""

    async def hold() -> None:
        while True:
            with suppress(OSError, TimeoutError):
                reader, writer = await asyncio.open_connection("127.0.0.1", target.port, limit=1024)
                try:
                    writer.write(request)
                    async with asyncio.timeout(60):
                        await writer.drain()
                        while await reader.read(1):  # a byte a second keeps the connection from looking dead
                            await asyncio.sleep(1)
                finally:
                    target.done[f"{name}: ended by the gateway"] += 1
                    writer.close()
            await asyncio.sleep(1)

    await asyncio.gather(*(hold() for _ in range(connections)))


def _merge_bomb() -> str:
    lines = ["a0: &a0 {k: v}", *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}, *a{n - 1}]}}" for n in range(1, 25))]
    return "\n".join(lines)


def _alias_bomb() -> str:
    return "\n".join(["a0: &a0 [x,x]", *(f"a{n}: &a{n} [*a{n - 1},*a{n - 1},*a{n - 1}]" for n in range(1, 25))])


def _large_manifest(version: int) -> str:
    tools = (tool(f"t{n}", f"http://127.0.0.1:9/{version}", tenant=HOSTILE) for n in range(10_000))
    return "".join(f"---\n{json.dumps(each)}\n" for each in tools)


def _step_back(options: argparse.Namespace) -> None:
    if options.realtime:
        os.setpriority(os.PRIO_PROCESS, 0, _FAVOURED)  # else what others do would keep it from its work
    else:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


async def _attack(options: argparse.Namespace) -> None:
    """The attackers: serve the upstream of their tools, and begin once they are told the port and a token."""
    _step_back(options)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    upstream, url = await start_upstream()
    print(url, flush=True)
    port, token = (await asyncio.to_thread(sys.stdin.readline)).split()
    target = Target(int(port), token, Path(options.folder))
    attacks = [attack for attack in ATTACKS if attack.__name__ in (options.only or NAMES)]
    running = [asyncio.ensure_future(attack(target)) for attack in attacks]
    await ended.wait()
    upstream.close()
    for attack, task in zip(attacks, running, strict=True):
        if task.done():
            print(f"{attack.__name__} failed: {task.exception()!r}")
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    print("\n".join(f"  {count:>9,} {name}" for name, count in sorted(target.done.items())), flush=True)


@dataclass
class Measured:
    latencies: list[float] = field(default_factory=list[float])
    spans: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """Begin and end of each call."""
    computed: list[float] = field(default_factory=list[float])
    """For each call, the seconds that the gateway computed from its request to its answer, in all of its threads and
    for whomever: what it would have waited for the gateway if nothing else ran on the machine."""
    failures: Counter[str] = field(default_factory=Counter[str])
    memory_mb: int = 0
    ran: float = 0.0
    waited: float = 0.0
    """Shares of the time in which the gateway's event loop ran, and waited for a processor that others had."""

    def __str__(self) -> str:
        p50, p99, most = (percentile(self.latencies, share) * 1000 for share in (0.5, 0.99, 0.99999))
        computed50, computed99 = (percentile(self.computed, share) * 1000 for share in (0.5, 0.99))
        failures = f", failures {dict(self.failures)}" if self.failures else ""
        return (
            f"{len(self.latencies):,} calls, p50 {p50:.1f} ms, p99 {p99:.1f} ms, slowest {most:.0f} ms, "
            f"computing p50 {computed50:.1f} ms, p99 {computed99:.1f} ms, "
            f"gateway at most {self.memory_mb} MB, its loop ran {self.ran:.0%} and waited for a processor "
            f"{self.waited:.0%}{failures}"
        )


async def measure(gateway: Gateway, token: str, seconds: float, *, is_realtime: bool = False) -> Measured:
    """The honest tenant: a call each 20 ms on four connections, whatever the calls before it did."""
    measured, clients = Measured(), [Client(gateway.port) for _ in range(4)]
    request = Target(gateway.port, token, Path()).call("victim", {}, token)
    clock = _cpu_clock(gateway.process.pid)

    async def call(client: Client) -> None:
        began, computed = time.perf_counter(), time.clock_gettime(clock)
        try:
            async with asyncio.timeout(10):
                status, _, body, _ = await client.send(request)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as lost:
            measured.failures[type(lost).__name__] += 1
            await client.close()
            return
        ended = time.perf_counter()
        measured.latencies.append(ended - began)
        measured.spans.append((began, ended))
        measured.computed.append(time.clock_gettime(clock) - computed)
        if status != 200:
            measured.failures[f"status {status}"] += 1
            print(body[:200])

    until, before = time.monotonic() + seconds, _run_and_waited(gateway.process.pid)
    for turn in itertools.count():
        if time.monotonic() > until or gateway.process.poll() is not None:
            break
        if is_realtime:
            _prefer(gateway.process.pid)
        await asyncio.gather(call(clients[turn % 4]), asyncio.sleep(PACE_SECONDS))
        if turn % 25 == 0:
            measured.memory_mb = max(measured.memory_mb, gateway.memory_mib() * MIB // 10**6)
    if gateway.process.poll() is None:
        after = _run_and_waited(gateway.process.pid)
        measured.ran, measured.waited = ((now - then) / seconds for now, then in zip(after, before, strict=True))
    for client in clients:
        await client.close()
    return measured


def manifests(upstream: str, hostile: str) -> list[dict[str, Any]]:
    """The honest tenant's tool has an upstream of its own, so that answers to attackers do not delay it."""
    schemas = {name: SCHEMAS[name] for name in ("plain", "recursive", "chain", "regex")}
    tools = [tool(name, f"{hostile}/{name}", method="POST", inputSchema=schema) for name, schema in schemas.items()]
    return [
        *tools,
        tool("victim", f"{upstream}/victim"),
        tool("large", f"{hostile}/large"),
        tool("unresolvable", "http://does-not-resolve.invalid/x"),
    ]


@contextmanager
def _child(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """This program as a process of its own, told to end afterwards."""
    command = [sys.executable, "-m", "tools.quality.soak", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        print(process.communicate(timeout=20)[0], end="", flush=True)


_FAVOURED = -10
"""The `nice` value of processes that others' work must not keep back, and that are not to delay the gateway either."""


def _prefer(pid: int) -> None:
    """Put this process and all threads of another before all other work, but not the processes that it started."""
    with suppress(ProcessLookupError, FileNotFoundError):  # a thread, or a worker process, that has ended
        for thread in (os.getpid(), *(int(path.name) for path in Path(f"/proc/{pid}/task").iterdir())):
            if os.sched_getscheduler(thread) != os.SCHED_RR:
                os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(1))
        for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            if os.sched_getscheduler(child) == os.SCHED_RR:  # as it was begun
                os.sched_setscheduler(child, os.SCHED_OTHER, os.sched_param(0))
                os.setpriority(os.PRIO_PROCESS, child, _FAVOURED)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)] if values else float("inf")


def _cpu_clock(pid: int) -> int:
    """The number of the clock of processor time that a process has used (clock_getcpuclockid(3))."""
    return (~pid << 3) | 2


def _run_and_waited(pid: int) -> tuple[float, float]:
    """Seconds that the main thread of a process ran, and was ready to but had no processor."""
    ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(ran) / 1e9, int(waited) / 1e9


async def _main(options: argparse.Namespace) -> int:
    upstream, url = await start_upstream()
    with tempfile.TemporaryDirectory(prefix="stoa-soak-") as scratch:
        folder = Path(options.folder or scratch)
        hostile = folder / "hostile"
        hostile.mkdir(parents=True, exist_ok=True)
        arguments, turns = ("--catalogue", f"{HOSTILE}={hostile}"), (folder / "turns.jsonl").resolve()
        only = [argument for name in options.only for argument in ("--only", name)]
        realtime = ("--realtime",) if options.realtime else ()
        with _child("--attack", "--folder", str(hostile), *only, *realtime) as attackers:
            assert attackers.stdin is not None and attackers.stdout is not None
            hostile_url = attackers.stdout.readline().strip()
            settings = {"STOA_CALLER_LIMITS": _LIMITS}
            command = (sys.executable, recorded.__file__, str(turns)) if options.turns else (str(STOA),)
            with serving(folder, manifests(url, hostile_url), settings, arguments, command=command) as gateway:
                token = gateway.token("cpi-admin", HONEST)
                quiet = await measure(gateway, token, min(30, options.seconds), is_realtime=options.realtime)
                print(f"quiet:      {quiet}", flush=True)
                with _child("--spin", *realtime):
                    beside = await measure(gateway, token, min(15, options.seconds), is_realtime=options.realtime)
                print(f"spinner:    {beside}", flush=True)
                attackers.stdin.write(f"{gateway.port} {gateway.token('devops', HOSTILE)}\n")
                attackers.stdin.flush()
                attacked = await measure(gateway, token, options.seconds, is_realtime=options.realtime)
                print(f"attacked:   {attacked}", flush=True)
                alive = gateway.process.poll() is None
            if options.turns:
                slow = sorted(attacked.spans, key=lambda span: span[0] - span[1])[: len(attacked.spans) // 50]
                print(recorded.report(recorded.read(turns), slow), flush=True)
    upstream.close()
    ratio = percentile(attacked.latencies, 0.99) / percentile(quiet.latencies, 0.99)
    passed = alive and not attacked.failures and ratio <= options.factor and attacked.memory_mb < options.memory
    print(f"p99 x {ratio:.2f} of quiet (at most {options.factor:g}), {attacked.memory_mb} MB (below {options.memory}): "
          f"{'passed' if passed else 'FAILED'}")  # fmt: skip
    return 0 if passed else 1


_LIMITS = json.dumps({"cpi-admin": {"requestsPerMinute": 6_000_000, "burst": 1_000_000}})
"""The honest tenant calls more than its role may; the hostile one has the limits that ship."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.quality.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--factor", type=float, default=2.0)
    parser.add_argument("--memory", type=int, default=400, help="MB")
    parser.add_argument("--folder", help="where catalogues, data and log are kept; default: a temporary folder")
    parser.add_argument("--only", metavar="ATTACK", action="append", choices=NAMES, default=[],
                        help=f"run this attack, and others so named, instead of all: {', '.join(NAMES)}")  # fmt: skip
    parser.add_argument("--realtime", action="store_true", help="for a machine on which others work; as root")
    parser.add_argument("--turns", action="store_true", help="tell what the longest calls waited for")
    parser.add_argument("--spin", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--attack", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.spin:
        _step_back(options)
        while True:
            pass
    if options.attack:
        asyncio.run(_attack(options))
        return 0
    return asyncio.run(_main(options))


if __name__ == "__main__":
    sys.exit(main())
