"""gRPC services by others: etcd, grpc-go's interop server, and two of its examples, one of which has reflection."""

import asyncio
import base64
import os
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.manifests import write
from tests.e2e.processes import GatewayProcess, serving
from tests.live.servers import INSTALLED, REPOSITORY, LiveServer, answers, free_port, running
from tests.live.test_serve import connected

from stoa.application.gateway import Gateway
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.access.identity import Principal
from stoa.infrastructure.files.specs.files import FileSpecSource
from stoa.infrastructure.grpc import GrpcBackend, GrpcSpecKind
from stoa.infrastructure.http_client import ANYWHERE
from stoa.infrastructure.worker_process import ProcessExecutor

INTEROP = REPOSITORY.parent / "shared" / "specs" / "grpc" / "grpc-proto"
ADMIN = Principal.of("ada", roles=["cpi-admin"])
ALICE = Principal.of("alice", roles=["viewer"])


class Etcd(LiveServer):
    name = "etcd"
    home = INSTALLED / "etcd"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._peer_port = free_port()
        self.target = f"grpc://127.0.0.1:{self.port}"

    @classmethod
    def is_installed(cls) -> bool:
        return (cls.home / ".stamp").exists()

    def command(self) -> list[str]:
        peer = f"http://127.0.0.1:{self._peer_port}"
        options = {
            "name": "stoa",
            "data-dir": str(self.folder / "data"),
            "listen-client-urls": self.url,
            "advertise-client-urls": self.url,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"stoa={peer}",
            "heartbeat-interval": "10",
            "election-timeout": "100",
            "log-level": "warn",
        }
        # It takes every variable ETCD_* for an option.
        unset = [part for name in os.environ if name.startswith("ETCD_") for part in ("-u", name)]
        program = str(self.home / "bin" / "etcd")
        return ["env", *unset, program, "--unsafe-no-fsync", *(f"--{key}={value}" for key, value in options.items())]

    def is_ready(self) -> bool:
        return answers(f"{self.url}/health")


class GrpcGo(LiveServer):
    name = "grpc"
    program: str

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.target = f"grpc://127.0.0.1:{self.port}"

    @classmethod
    def is_installed(cls) -> bool:
        return (INSTALLED / "grpc" / ".stamp").exists()

    def command(self) -> list[str]:
        return [str(INSTALLED / "grpc" / "bin" / self.program), f"--port={self.port}"]

    def is_ready(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Interop(GrpcGo):
    program = "interop"


class Reflecting(GrpcGo):
    program = "reflection"


class ErrorDetails(GrpcGo):
    program = "error_details"


def _fixture(kind):
    @pytest.fixture(scope="module", name=kind.__name__.lower())
    def server(tmp_path_factory):
        with running(kind, tmp_path_factory.mktemp(kind.__name__)) as started:
            yield started

    return server


etcd, interop, reflecting, errordetails = map(_fixture, (Etcd, Interop, Reflecting, ErrorDetails))


def tool_set(grpc: dict[str, Any], **spec: Any) -> dict[str, Any]:
    head = {"apiVersion": "gostoa.dev/v1alpha1", "kind": "ToolSet", "metadata": {"name": "api"}}
    return {**head, "spec": {"grpc": grpc, **spec}}


ETCD_PROTOS = {"protos": ["etcd/api/etcdserverpb/rpc.proto"], "includes": ["."]}


@asynccontextmanager
async def gateway_of(grpc: dict[str, Any], folder: Path | None = None, **spec: Any):
    credentials, executor = InMemoryCredentialSource(), ProcessExecutor()
    gateway = Gateway(
        backends=[GrpcBackend(credentials)],
        spec_kinds=[GrpcSpecKind(credentials, rules=ANYWHERE)],
        specs=FileSpecSource(folder),
        executor=executor,
    )
    try:
        await gateway.add_manifest(tool_set(grpc, **spec))
        yield gateway
    finally:
        await gateway.close()
        await executor.close()


def text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


async def answered(gateway: Gateway, name: str, arguments: Any = None) -> Any:
    outcome = await gateway.invoke(name, arguments or {}, ADMIN)
    assert outcome.error is None, outcome.error
    assert not outcome.result.is_error, outcome.result
    return outcome.result.structured


def etcd_gateway(etcd: LiveServer, **grpc: Any):
    return gateway_of({"target": etcd.target, **ETCD_PROTOS, **grpc}, Etcd.home / "protos")


async def test_etcd_puts_ranges_and_deletes(etcd):
    async with etcd_gateway(etcd) as gateway:
        for name in ("a", "b"):
            await answered(gateway, "KV_Put", {"key": text(f"range/{name}"), "value": text(name)})
        wanted = {"key": text("range/"), "rangeEnd": text("range0"), "sortOrder": "DESCEND"}
        found = await answered(gateway, "KV_Range", wanted)
        assert [base64.b64decode(each["value"]) for each in found["kvs"]] == [b"b", b"a"]
        assert (found["count"], found["kvs"][0]["version"]) == ("2", "1")
        put = {"requestPut": {"key": text("range/c"), "value": text("c")}}
        compare = {"key": text("range/a"), "target": "VERSION", "result": "GREATER", "version": "0"}
        assert (await answered(gateway, "KV_Txn", {"compare": [compare], "success": [put]}))["succeeded"] is True
        deleted = {"key": text("range/"), "rangeEnd": text("range0")}
        assert (await answered(gateway, "KV_DeleteRange", deleted))["deleted"] == "3"


async def test_etcd_watch_is_read_until_its_bound(etcd):
    async with etcd_gateway(etcd, stream={"maxMessages": 2}) as gateway:
        put = await answered(gateway, "KV_Put", {"key": text("watched"), "value": text("1")})
        create = {"key": text("watched"), "startRevision": put["header"]["revision"]}
        watched = await answered(gateway, "Watch_Watch", {"messages": [{"createRequest": create}]})
        created, events = watched["messages"]
        assert (created["created"], watched["end"]) == (True, "maxMessages")
        assert events["events"][0]["kv"]["value"] == text("1")


async def test_etcd_watch_without_events_ends_at_its_duration(etcd):
    async with etcd_gateway(etcd, stream={"maxDuration": "300ms"}) as gateway:
        create = {"key": text("never")}
        watched = await answered(gateway, "Watch_Watch", {"messages": [{"createRequest": create}]})
        assert (len(watched["messages"]), watched["end"]) == (1, "maxDuration")


async def test_etcd_lease_is_granted_and_revoked(etcd):
    async with etcd_gateway(etcd) as gateway:
        lease = (await answered(gateway, "Lease_LeaseGrant", {"TTL": "600"}))["ID"]
        await answered(gateway, "KV_Put", {"key": text("leased"), "value": text("1"), "lease": lease})
        left = await answered(gateway, "Lease_LeaseTimeToLive", {"ID": lease, "keys": True})
        assert (left["grantedTTL"], left["keys"]) == ("600", [text("leased")])
        kept = await answered(gateway, "Lease_LeaseKeepAlive", {"messages": [{"ID": lease}]})
        assert kept["messages"][0]["TTL"] == "600"
        await answered(gateway, "Lease_LeaseRevoke", {"ID": lease})
        assert "kvs" not in await answered(gateway, "KV_Range", {"key": text("leased")})


async def test_etcd_status_is_an_error_result_with_its_code(etcd):
    async with etcd_gateway(etcd) as gateway:
        outcome = await gateway.invoke("KV_Range", {}, ADMIN)
        assert outcome.result.is_error
        assert '"code":"INVALID_ARGUMENT"' in outcome.result.content[0].text
        outcome = await gateway.invoke("KV_Range", {"key": "no base64!"}, ADMIN)
        assert outcome.error.code == "invalid_arguments"


async def test_etcd_that_dies_and_comes_back_is_called_again(etcd):
    async with etcd_gateway(etcd) as gateway:
        await answered(gateway, "KV_Put", {"key": text("durable"), "value": text("1")})
        etcd.kill()
        outcome = await gateway.invoke("KV_Range", {"key": text("durable")}, ADMIN)
        etcd.start()
        assert "[backend_unavailable]" in outcome.result.content[0].text
        async with asyncio.timeout(30):  # the channel tries again after a while, and then less and less often
            while outcome.result.is_error:
                await asyncio.sleep(0.1)
                outcome = await gateway.invoke("KV_Range", {"key": text("durable")}, ADMIN)
        assert outcome.result.structured["kvs"][0]["value"] == text("1")


async def test_etcd_is_served_through_mcp(etcd, tmp_path):
    gateway = GatewayProcess(tmp_path)
    protos = str(Etcd.home / "protos")
    grpc = {"target": etcd.target, "protos": [f"{protos}/{ETCD_PROTOS['protos'][0]}"], "includes": [protos]}
    write(gateway, "etcd.yaml", tool_set(grpc, selector={"tags": ["KV"]}))
    with serving(gateway):
        async with connected(gateway, gateway.token("devops", "acme"), "legacy") as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert {"KV_Put", "KV_Range"} <= names
            assert not any(name.startswith("Watch") for name in names)
            await client.call_tool("KV_Put", {"key": text("mcp"), "value": text("1")})
            found = await client.call_tool("KV_Range", {"key": text("mcp")})
    assert found.structured_content["kvs"][0]["value"] == text("1")


async def test_grpc_go_server_is_described_by_its_reflection(reflecting):
    async with gateway_of({"target": reflecting.target}) as gateway:
        names = sorted(tool.name for tool in gateway.registry.catalogue.view(None) if tool.kind == "tool")
        assert names == [
            "Echo_BidirectionalStreamingEcho",
            "Echo_ClientStreamingEcho",
            "Echo_ServerStreamingEcho",
            "Echo_UnaryEcho",
            "Greeter_SayHello",
            *(name for name in names if name.startswith("Greeter_SayHelloS")),
        ]
        assert await answered(gateway, "Greeter_SayHello", {"name": "Ann"}) == {"message": "Hello Ann"}
        outcome = await gateway.invoke("Echo_ServerStreamingEcho", {"message": "x"}, ADMIN)
        assert '"code":"UNIMPLEMENTED"' in outcome.result.content[0].text


async def test_grpc_go_status_details_are_decoded(reflecting, errordetails):
    async with gateway_of({"target": reflecting.target}, baseURL=errordetails.url) as gateway:
        assert await answered(gateway, "Greeter_SayHello", {"name": "Ann"}) == {"message": "Hello Ann"}
        outcome = await gateway.invoke("Greeter_SayHello", {"name": "Ann"}, ADMIN)
    assert outcome.result.is_error
    for part in ('"code":"RESOURCE_EXHAUSTED"', "google.rpc.QuotaFailure", '"subject":"name:Ann"'):
        assert part in outcome.result.content[0].text


@pytest.fixture
def testing():
    """The description of the interop server, which has no reflection."""
    if not INTEROP.is_dir():
        pytest.skip("needs the API descriptions in ../shared/specs/grpc")

    def opened(server: LiveServer, **grpc: Any):
        protos = {"protos": ["grpc/testing/test.proto"], "includes": ["."]}
        return gateway_of(
            {"target": server.target, **protos, "services": ["grpc.testing.TestService"], **grpc}, INTEROP
        )

    return opened


async def test_interop_calls_of_every_kind_are_answered(interop, testing):
    async with testing(interop) as gateway:
        assert await answered(gateway, "TestService_EmptyCall") == {}
        payload = {"body": base64.b64encode(bytes(271_828)).decode()}
        large = await answered(gateway, "TestService_UnaryCall", {"responseSize": 100_000, "payload": payload})
        assert len(base64.b64decode(large["payload"]["body"])) == 100_000
        sizes = [{"size": size} for size in (31_415, 9, 2_653, 58_979)]
        given = await answered(gateway, "TestService_StreamingOutputCall", {"responseParameters": sizes})
        assert [len(base64.b64decode(each["payload"]["body"])) for each in given["messages"]] == [
            31_415,
            9,
            2_653,
            58_979,
        ]
        bodies = [{"payload": {"body": base64.b64encode(bytes(size)).decode()}} for size in (27_182, 8, 1_828, 45_904)]
        collected = await answered(gateway, "TestService_StreamingInputCall", {"messages": bodies})
        assert collected == {"aggregatedPayloadSize": 74_922}
        asked = [{"responseParameters": [size]} for size in sizes]
        given = await answered(gateway, "TestService_FullDuplexCall", {"messages": asked})
        assert (len(given["messages"]), given["end"]) == (4, "completed")


async def test_interop_status_with_special_characters_arrives(interop, testing):
    message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
    async with testing(interop) as gateway:
        status = {"responseStatus": {"code": 2, "message": message}}
        outcome = await gateway.invoke("TestService_UnaryCall", status, ADMIN)
    assert outcome.result.is_error
    assert "non-BMP 😈" in outcome.result.content[0].text


async def test_interop_unimplemented_method_and_message_beyond_the_limit_are_told(interop, testing):
    async with testing(interop) as gateway:
        outcome = await gateway.invoke("TestService_UnimplementedCall", {}, ADMIN)
        assert '"code":"UNIMPLEMENTED"' in outcome.result.content[0].text
        outcome = await gateway.invoke("TestService_UnaryCall", {"responseSize": 9_000_000}, ADMIN)
        assert "larger than the gateway reads [backend_protocol_error]" in outcome.result.content[0].text


async def test_interop_stream_ends_at_the_deadline_with_what_came(interop, testing):
    slow = {"responseParameters": [{"size": 1}, {"size": 1, "intervalUs": 60_000_000}]}
    async with testing(interop, stream={"maxDuration": "300ms"}) as gateway:
        given = await answered(gateway, "TestService_StreamingOutputCall", slow)
    assert (len(given["messages"]), given["end"]) == (1, "maxDuration")


async def test_interop_methods_need_the_scope_to_write(interop, testing):
    async with testing(interop) as gateway:
        outcome = await gateway.invoke("TestService_EmptyCall", {}, ALICE)
    assert outcome.error.code == "not_permitted"
