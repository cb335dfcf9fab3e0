"""`python -m bench kafka-kill` and `kafka-down`: what metering owes when a broker or the gateway dies, on real servers.

kafka-kill: a number of answered calls, while Kafka is killed and restarted five times and the gateway is `kill -9`ed
three times. Then every answered call must have its event on the topic. kafka-down: latency, memory and disk of a
gateway whose broker never answers, against one that has none, in alternating rounds. Kafka and the gateway are started
as the tests start them.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from tests.e2e.manifests import tool, write
from tests.e2e.processes import GatewayProcess
from tests.e2e.wire import ENVELOPE, STATELESS
from tests.infrastructure.kafka.brokers import records
from tests.live.servers import Kafka, free_port, make_topic

from bench.errors import CannotMeasure
from bench.upstream import Upstream
from stoa.infrastructure.outbox import OutboxUsageLog

TOPIC = "stoa.metering.events"
PLAN = ("kafka", "gateway", "kafka", "kafka", "gateway", "kafka", "gateway", "kafka")
"""What is killed, one after the other, evenly over the calls."""
LONGEST_SECONDS = 1800.0
CATCH_UP_SECONDS = 180.0
SETTLED_SECONDS = 3.0
"""So long nothing must wait; a gateway that has just started has not looked yet."""


@dataclass
class Load:
    """Callers over keep-alive connections, each call with a request id of its own, half through MCP and half through
    REST. `total` answered calls, or until `stop`."""

    url: str
    token: Callable[[], str]
    callers: int
    total: int | None = None
    answered: set[str] = field(default_factory=set[str])
    latencies: list[float] = field(default_factory=list[float])
    sent: int = 0
    broken: int = 0
    refused: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    up: asyncio.Event = field(default_factory=asyncio.Event)
    _name: str = ""

    async def run(self, name: str) -> None:
        self._name = name
        headers = {"Authorization": f"Bearer {self.token()}"}
        connector = aiohttp.TCPConnector(limit=self.callers)
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(self.url, headers=headers, connector=connector, timeout=timeout) as session:
            await asyncio.gather(*(self._caller(session, number) for number in range(self.callers)))

    async def _caller(self, session: aiohttp.ClientSession, caller: int) -> None:
        for number in itertools.count():
            await self.up.wait()
            if self.stop.is_set() or (self.total is not None and len(self.answered) >= self.total):
                return
            request_id = f"{self._name}-{caller}-{number}"
            self.sent += 1
            started = time.perf_counter()
            try:
                is_answered = await (self._mcp if number % 2 else self._rest)(session, request_id)
            except (aiohttp.ClientError, ConnectionError, TimeoutError):
                self.broken += 1
                await asyncio.sleep(0.02)
                continue
            self.latencies.append(time.perf_counter() - started)
            if is_answered:
                self.answered.add(request_id)
            else:
                self.refused += 1

    async def _mcp(self, session: aiohttp.ClientSession, request_id: str) -> bool:
        params = {"name": "ask", "arguments": {}, "_meta": ENVELOPE}
        message = {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}
        headers = {
            "X-Request-ID": request_id,
            "MCP-Protocol-Version": STATELESS,
            "Mcp-Method": "tools/call",
            "Mcp-Name": "ask",
        }
        async with session.post("/mcp", json=message, headers=headers) as response:
            return "result" in await response.json()

    async def _rest(self, session: aiohttp.ClientSession, request_id: str) -> bool:
        headers = {"X-Request-ID": request_id}
        async with session.post("/mcp/v1/tools/ask/invoke", json={"arguments": {}}, headers=headers) as response:
            await response.read()
            return response.status == 200


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def kafka_kill(directory: Path, options: argparse.Namespace) -> int:
    if not Kafka.is_installed():
        raise CannotMeasure("Kafka is not installed; tools/services/install.sh kafka does it")
    with contextlib.ExitStack() as cleanup:
        kafka = Kafka(directory / "kafka")
        cleanup.callback(kafka.stop)
        kafka.start()
        make_topic(kafka.servers, TOPIC)
        gateway = _gateway(cleanup, directory, {"KAFKA_BOOTSTRAP_SERVERS": kafka.servers})
        gateway.start()
        say(f"Kafka at {kafka.servers}, gateway at {gateway.url}")
        figures = asyncio.run(_kill(kafka, gateway, options))
        say("reading the topic")
        figures |= _compare(kafka.servers, gateway, figures.pop("answered"))
    _print(figures)
    return 0 if figures["lost"] == 0 else 1


async def _kill(kafka: Kafka, gateway: GatewayProcess, options: argparse.Namespace) -> dict[str, Any]:
    load = Load(gateway.url, lambda: gateway.token("viewer"), options.callers, total=options.calls)
    load.up.set()
    started = time.monotonic()
    running = asyncio.create_task(load.run("call"))
    memory = [gateway.memory_mib()]
    kills: Counter[str] = Counter()
    longest_lag = 0
    for number, victim in enumerate(PLAN, 1):
        goal = options.calls * number // (len(PLAN) + 1)
        while len(load.answered) < goal:
            if running.done() or time.monotonic() - started > LONGEST_SECONDS:
                raise CannotMeasure(f"only {len(load.answered)} calls were answered: {gateway.log[-2000:]}")
            await asyncio.sleep(0.05)
        kills[victim] += 1
        say(f"{len(load.answered)} answered; kill -9 {victim} ({kills[victim]})")
        if victim == "kafka":
            await asyncio.to_thread(kafka.kill)
            await asyncio.sleep(1.0)
            longest_lag = max(longest_lag, await asyncio.to_thread(_waiting, gateway))
            await asyncio.to_thread(kafka.start)
            longest_lag = max(longest_lag, await asyncio.to_thread(_waiting, gateway))
        else:
            load.up.clear()
            memory.append(gateway.memory_mib())
            await asyncio.to_thread(gateway.kill)
            await asyncio.to_thread(gateway.start)
            load.up.set()
    await running
    seconds = time.monotonic() - started
    say(f"{len(load.answered)} answered in {seconds:.0f} s; waiting for the relay")
    since = done = time.monotonic()
    while time.monotonic() - done < SETTLED_SECONDS:
        if await asyncio.to_thread(_waiting, gateway):
            done = time.monotonic()
        if done - since > CATCH_UP_SECONDS:
            raise CannotMeasure(f"the relay did not catch up: {gateway.ready()['relay']}")
        await asyncio.sleep(0.25)
    memory.append(gateway.memory_mib())
    return {
        "answered": load.answered,
        "sent": load.sent,
        "connections broken": load.broken,
        "refused": load.refused,
        "seconds": round(seconds, 1),
        "calls/s": round(len(load.answered) / seconds),
        "kafka killed": kills["kafka"],
        "gateway killed": kills["gateway"],
        "longest lag seen, bytes": longest_lag,
        "caught up after the last call, s": round(done - since, 1),
        "gateway RSS, MiB": [round(value, 1) for value in memory],
    }


def _waiting(gateway: GatewayProcess) -> int:
    """Bytes, measured by the relay at most a second ago."""
    text = gateway.get("/metrics")[1]
    values = [line.split()[1] for line in text.splitlines() if line.startswith("stoa_relay_waiting_bytes ")]
    return int(float(values[0]))


def _compare(servers: str, gateway: GatewayProcess, answered: set[str]) -> dict[str, Any]:
    found = records(servers, TOPIC)
    events = [json.loads(record.value) for record in found]
    distinct = {event["event_id"]: event["request_id"] for event in events}
    calls = Counter(distinct.values())
    on_disk = {event.event_id for event in OutboxUsageLog(gateway.data / "outbox").events()}
    return {
        "answered calls": len(answered),
        "answered calls with exactly one distinct event on the topic": sum(calls[one] == 1 for one in answered),
        "lost": sum(calls[one] == 0 for one in answered),
        "records on the topic": len(found),
        "distinct events on the topic": len(distinct),
        "duplicate records": len(found) - len(distinct),
        "events of calls whose answer was lost with the gateway": len(set(calls) - answered),
        "distinct events in the outbox": len(on_disk),
        "in the outbox and not on the topic": len(on_disk - distinct.keys()),
    }


def kafka_down(directory: Path, options: argparse.Namespace) -> int:
    with contextlib.ExitStack() as cleanup:
        (directory / "none").mkdir()
        (directory / "down").mkdir()
        away = f"127.0.0.1:{free_port()}"
        gateways = {
            "no relay": _gateway(cleanup, directory / "none", {}),
            "Kafka down": _gateway(cleanup, directory / "down", {"KAFKA_BOOTSTRAP_SERVERS": away}),
        }
        for gateway in gateways.values():
            gateway.start()
        figures = asyncio.run(_alternate(gateways, options))
    _print(figures)
    return 0


async def _alternate(gateways: dict[str, GatewayProcess], options: argparse.Namespace) -> dict[str, Any]:
    rounds: dict[str, list[tuple[float, float, int]]] = {name: [] for name in gateways}
    memory: dict[str, list[float]] = {name: [] for name in gateways}
    refused = 0
    for number in range(options.rounds + 1):
        order = list(gateways.items())
        for name, gateway in order if number % 2 else reversed(order):
            load = Load(gateway.url, lambda gateway=gateway: gateway.token("viewer"), options.callers)
            load.up.set()
            running = asyncio.create_task(load.run(f"{number}"))
            await asyncio.sleep(options.seconds)
            load.stop.set()
            await running
            refused += load.refused + load.broken
            memory[name].append(round(gateway.memory_mib(), 1))
            if number:  # the first warms up
                cuts = statistics.quantiles(load.latencies, n=100)
                rounds[name].append((cuts[49] * 1000, cuts[98] * 1000, len(load.answered)))
                say(f"round {number}/{options.rounds} {name:10} p50 {cuts[49] * 1000:.2f} ms p99 {cuts[98] * 1000:.2f}")
    figures: dict[str, Any] = {"calls that were refused or broken": refused}
    for which, percentile in enumerate(("p50", "p99")):
        pairs = zip(rounds["Kafka down"], rounds["no relay"], strict=True)
        ratio = statistics.median(down[which] / none[which] for down, none in pairs)
        figures[f"{percentile}, Kafka down / no relay, median of rounds"] = round(ratio, 3)
    for name, gateway in gateways.items():
        p50, p99, calls = zip(*rounds[name], strict=True)
        outbox = sum(path.stat().st_size for path in (gateway.data / "outbox").iterdir())
        figures[name] = {
            "p50, ms": round(statistics.median(p50), 2),
            "p99, ms": round(statistics.median(p99), 2),
            "calls": sum(calls),
            "RSS after each round, MiB": memory[name],
            "outbox, bytes": outbox,
        }
    figures["ready"] = gateways["Kafka down"].ready()["relay"]
    return figures


def _gateway(cleanup: contextlib.ExitStack, directory: Path, environment: dict[str, str]) -> GatewayProcess:
    upstream_home = directory / "upstream"
    upstream_home.mkdir()
    upstream = Upstream(upstream_home)
    cleanup.callback(upstream.stop)
    upstream.start()
    home = directory / "gateway"
    home.mkdir()
    gateway = GatewayProcess(home, {"RATE_LIMIT_ENABLED": "false", **environment})
    write(gateway, "tools.yaml", tool("ask", f"{upstream.url}/items/1?q=x"))
    cleanup.callback(lambda: gateway.kill() if gateway.process is not None else None)
    return gateway


def _print(figures: dict[str, Any]) -> None:
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"{name:{width}}  {value}")
    print(json.dumps(figures))


def options_of(command: str, arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m bench {command}", description=__doc__)
    parser.add_argument("--callers", type=int, default=16, help="connections at once (default: 16)")
    if command == "kafka-kill":
        parser.add_argument("--calls", type=int, default=100_000, help="answered calls (default: 100,000)")
    else:
        parser.add_argument("--rounds", type=int, default=5, help="rounds per gateway (default: 5)")
        parser.add_argument("--seconds", type=int, default=6, help="seconds per round (default: 6)")
    return parser.parse_args(arguments)


COMMANDS = {"kafka-kill": kafka_kill, "kafka-down": kafka_down}
