"""`python -m bench back-ends`: the CPU of a governed call for each kind of back end, against a yardstick."""

import argparse
import base64
import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import grpc
from grpc_tools import protoc

from bench.errors import CannotMeasure
from bench.grpc_server import Messages
from bench.kafka_back_end import KafkaBare, KafkaGateway, KafkaUpstream
from bench.load import Load, Round, find_wrk
from bench.processes import Child, Usage, free_port
from bench.systems import Bare, Gateway, System
from bench.upstream import Upstream
from bench.wire import STATELESS_REVISIONS, verify

HERE = Path(__file__).parent
_WARM_UP_SECONDS = 2


class GraphQlGateway(Gateway):
    """The gateway with the same item behind a GraphQL query."""

    name = "gateway-graphql"

    def item_of(self, content: Any) -> Any:
        return content["data"]["get_item"]

    def _manifest(self) -> Mapping[str, Any]:
        document = "query get_item($id: Int!, $q: String!) { get_item(id: $id, q: $q) { id name query price inStock } }"
        spec = {"graphQL": {"endpoint": f"{self._upstream_url}/graphql", "document": document}}
        return {"kind": "Tool", "metadata": {"name": "get_item"}, "spec": spec}


class GrpcUpstream:
    """A grpc.aio server in a process of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = free_port()
        self._child: Child | None = None
        self.descriptors = directory / "items.binpb"

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        arguments = ["protoc", f"-I{HERE}", f"--descriptor_set_out={self.descriptors}", "items.proto"]
        if protoc.main(arguments):
            raise CannotMeasure("items.proto does not compile")
        command = [sys.executable, "-m", "bench.grpc_server", str(self._port)]
        environment = {"BENCH_DESCRIPTORS": str(self.descriptors)}
        self._child = Child(command, env=environment, cwd=HERE.parent, log=self._directory / "grpc.log")
        self._child.wait_for_port(self._port, 20)

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()

    def usage(self) -> Usage:
        if self._child is None:
            raise CannotMeasure("the gRPC server was not started")
        return self._child.usage()

    def requests(self) -> int:
        """How many calls it has seen, once no more come in: servers still work on calls that wrk gave up."""
        seen = self._seen()
        for _ in range(50):
            time.sleep(0.1)
            before, seen = seen, self._seen()
            if seen == before:
                return seen
        raise CannotMeasure("calls still reach the gRPC server 5 s after the load has ended")

    def _seen(self) -> int:
        messages = Messages(self.descriptors)
        with grpc.insecure_channel(self.url) as channel:
            encode, decode = messages.nothing.SerializeToString, messages.seen.FromString
            count = channel.unary_unary("/bench.Items/Count", encode, decode)
            return int(count(messages.nothing(), timeout=5).requests)


class GrpcBare(Bare):
    """No governance: what any Python gateway to gRPC has to pay."""

    name = "bare-grpc"

    def command(self) -> Sequence[str]:
        return ["bench.grpc_passthrough:app" if part == "bench.passthrough:app" else part for part in super().command()]

    def environment(self) -> Mapping[str, str]:
        return {**super().environment(), "BENCH_DESCRIPTORS": str(self._directory.parent / "items.binpb")}


class GrpcGateway(Gateway):
    """The gateway with the same item behind a unary method."""

    name = "gateway-grpc"

    def _manifest(self) -> Mapping[str, Any]:
        descriptors = base64.b64encode((self._directory.parent / "items.binpb").read_bytes()).decode()
        method = {"method": "bench.Items/GetItem", "descriptorSet": descriptors}
        spec = {"grpc": {"target": f"grpc://{self._upstream_url}", **method}}
        return {"kind": "Tool", "metadata": {"name": "get_item"}, "spec": spec}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row: CPU per call of `measured` against `against`, with one back end behind both."""

    measured: type[System]
    against: type[System]
    back_end: Callable[[Path], Any]
    most: float | None
    """The aim; None: there is none."""


COMPARISONS: dict[str, Comparison] = {
    "graphql": Comparison(GraphQlGateway, Gateway, Upstream, 1.3),
    "grpc": Comparison(GrpcGateway, GrpcBare, GrpcUpstream, 1.6),
    "kafka": Comparison(KafkaGateway, KafkaBare, KafkaUpstream, None),
}
"""Further kinds of back end add their row here."""


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench back-ends")
    parser.add_argument("--only", nargs="+", choices=[*COMPARISONS], default=[*COMPARISONS])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=16)
    return parser.parse_args(arguments)


def run(directory: Path, options: argparse.Namespace) -> int:
    failures: list[str] = []
    for name in options.only:
        folder = directory / name
        folder.mkdir()
        failures += _compare(COMPARISONS[name], folder, options)
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _compare(comparison: Comparison, directory: Path, options: argparse.Namespace) -> list[str]:
    form = STATELESS_REVISIONS
    with contextlib.ExitStack() as cleanup:
        back_end = comparison.back_end(directory)
        cleanup.callback(back_end.stop)
        back_end.start()
        systems: list[System] = []
        for kind in (comparison.against, comparison.measured):
            system = kind(back_end.url, directory / kind.name)
            cleanup.callback(system.stop)
            system.start()
            system.wait_until_right(form)
            systems.append(system)
        rounds = _rounds(Load(find_wrk(), back_end, form, options.connections, directory), systems, options)
        for system in systems:
            verify(system.target(form), form, system.item_of)
    return _print(comparison, rounds)


def _rounds(load: Load, systems: list[System], options: argparse.Namespace) -> dict[str, list[Round]]:
    """Rounds alternate, so that a slow spell of the machine hits both."""
    for system in systems:
        load.run(system, _WARM_UP_SECONDS)
    rounds: dict[str, list[Round]] = {system.name: [] for system in systems}
    for _ in range(options.rounds):
        for system in systems:
            rounds[system.name].append(load.run(system, options.seconds))
    return rounds


def _print(comparison: Comparison, rounds: dict[str, list[Round]]) -> list[str]:
    measured, against = rounds[comparison.measured.name], rounds[comparison.against.name]
    for name, done in rounds.items():
        cpu, rate = median(each.cpu_us_per_call for each in done), median(each.calls_per_second for each in done)
        print(f"{name:16} {cpu:8,.0f} µs CPU/call {rate:9,.0f} calls/s")
    ratio = median(mine.cpu_us_per_call / other.cpu_us_per_call for mine, other in zip(measured, against, strict=True))
    verdict = ""
    if comparison.most is not None:
        verdict = f"  (aim {comparison.most:g}): {'reached' if ratio <= comparison.most else 'MISSED'}"
    names = f"{comparison.measured.name} : {comparison.against.name}"
    print(f"{names:33} {ratio:6.2f}{verdict}\n", flush=True)
    return [f"{name}: {text}" for name, done in rounds.items() for each in done for text in each.failures]
