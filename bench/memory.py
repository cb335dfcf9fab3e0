"""`python -m bench memory`: what back ends cost that are configured and never called.

The gateway is started anew for each row, as a shell starts it, with one HTTP tool and the ToolSets of the row. A gRPC
server is there and is asked by reflection, and an MCP server is asked for its tools; the GraphQL schema is a file, and
the topic of Kafka is described by an AsyncAPI document.
"""

import sys
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tests.e2e.manifests import tool, write
from tests.e2e.processes import GatewayProcess, serving

from bench.processes import Child, free_port

REPOSITORY = Path(__file__).parent.parent
STARTS = 3
LIMIT_MIB = 10.0
NOBODY = "127.0.0.1:1"
GRAPHQL_SCHEMA = "type Query { book(id: ID!): Book } type Book { id: ID! title: String! pages: Int }"


ASYNCAPI = {
    "asyncapi": "3.0.0",
    "info": {"title": "Orders", "version": "1"},
    "servers": {"main": {"host": NOBODY, "protocol": "kafka"}},
    "channels": {"orders": {"address": "orders", "messages": {"order": {"payload": {"type": "object"}}}}},
    "operations": {"receiveOrder": {"action": "receive", "channel": {"$ref": "#/channels/orders"}}},
}


def run(directory: Path, _: list[str]) -> int:
    with _health_server() as target, _mcp_server(directory) as url:
        return _measure(directory, target, url)


def _measure(directory: Path, target: str, url: str) -> int:
    kinds = {
        "GraphQL": {"graphQL": {"url": "shop.graphql", "endpoint": f"http://{NOBODY}/graphql"}},
        "gRPC": {"grpc": {"target": target}},
        "Kafka": {"kafka": {"inline": ASYNCAPI}},
        "MCP": {"mcp": {"url": url}},
    }
    rows: dict[str, Mapping[str, object]] = {"HTTP alone": {}}
    rows |= {f"HTTP and {name}": source for name, source in kinds.items()}
    rows["all"] = {member: source for sources in kinds.values() for member, source in sources.items()}
    table = Table(
        "configured, not called", "idle, MiB", "more, MiB", title="Memory of one worker", title_justify="left"
    )
    medians: dict[str, float] = {}
    for number, (name, sources) in enumerate(rows.items()):
        measured = sorted(_idle_mib(directory / f"{number}-{start}", sources) for start in range(STARTS))
        medians[name] = measured[STARTS // 2]
        table.add_row(name, f"{medians[name]:.1f}", f"{medians[name] - medians['HTTP alone']:.1f}")
    Console(width=100).print(table)
    return int(medians["all"] - medians["HTTP alone"] >= LIMIT_MIB)


def _idle_mib(home: Path, sources: Mapping[str, object]) -> float:
    home.mkdir()
    gateway = GatewayProcess(home, imports_itself=True)
    write(gateway, "ask.yaml", tool("ask", f"http://{NOBODY}/ask"))
    (gateway.catalogue / "shop.graphql").write_text(GRAPHQL_SCHEMA)
    for member, source in sources.items():
        manifest = {"apiVersion": "gostoa.dev/v1alpha1", "kind": "ToolSet", "metadata": {"name": member.lower()}}
        write(gateway, f"{member}.yaml", {**manifest, "spec": {member: source}})
    with serving(gateway):
        assert f"from {1 + len(sources)} manifests" in gateway.ready()["catalogue"]["detail"], gateway.log
        return gateway.memory_mib()


@contextmanager
def _mcp_server(directory: Path) -> Generator[str]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "bench.mcp_server:app", "--port", str(port), "--log-level", "warning"]
    child = Child(command, env={}, cwd=REPOSITORY, log=directory / "mcp.log")
    try:
        child.wait_for_port(port, 30)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        child.stop()


@contextmanager
def _health_server() -> Generator[str]:
    """grpcio's own health service, with reflection."""
    import grpc  # type: ignore[import-untyped]
    from grpc_health.v1 import health, health_pb2_grpc  # type: ignore[import-untyped]
    from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]

    server = grpc.server(ThreadPoolExecutor(2))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    reflection.enable_server_reflection((health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
