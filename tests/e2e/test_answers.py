"""Answers of a REST API that do not come at once or not as a whole, through a gateway and real connections: streams,
long answers, projections, accepted work."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from tests.e2e.manifests import write
from tests.e2e.processes import GatewayProcess, serving, until
from tests.e2e.wire import ENVELOPE, HANDSHAKE, STATELESS, WireClient, wire_client

TASKS = "io.modelcontextprotocol/tasks"
REST = "dev.gostoa/rest"
ORDERS = {"total": 30_000, "orders": [{"id": number, "name": f"order {number}"} for number in range(30_000)]}


def _answers(**content: Any) -> dict[str, Any]:
    return {code.removeprefix("_"): {"description": "ok", **described} for code, described in content.items()}


_ORDER = {"type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}}
_ORDERS = {
    "type": "object",
    "properties": {"total": {"type": "integer"}, "orders": {"type": "array", "items": _ORDER}},
}
DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "Orders", "version": "1"},
    "paths": {
        "/events": {
            "get": {"operationId": "follow", "responses": _answers(_200={"content": {"text/event-stream": {}}})}
        },
        "/orders": {
            "get": {
                "operationId": "orders",
                "responses": _answers(_200={"content": {"application/json": {"schema": _ORDERS}}}),
            },
            "post": {
                "operationId": "import_orders",
                "responses": _answers(_202={"headers": {"Location": {"schema": {"type": "string"}}}}),
            },
        },
    },
}


class _Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    polled = 0

    def do_GET(self) -> None:  # the library's name
        if self.path == "/events":
            self._headed("text/event-stream", "Transfer-Encoding: chunked")
            for number in range(3):
                self._chunk(f"event: order\ndata: {json.dumps({'id': number})}\n\n".encode())
            self.rfile.read(1)  # until the gateway hangs up
        elif self.path == "/orders":
            self._whole(json.dumps(ORDERS).encode())
        elif self.path == "/jobs/1":
            type(self).polled += 1
            self._whole(b'{"status":"running"}' if self.polled < 3 else b'{"imported":7}', "Retry-After: 0")

    def do_POST(self) -> None:
        self._whole(b"", "Location: /jobs/1", status=202)

    def _headed(self, media_type: str, *more: str, status: int = 200) -> None:
        self.send_response(status)
        for line in (f"Content-Type: {media_type}", *more):
            self.send_header(*line.split(": ", 1))
        self.end_headers()

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))

    def _whole(self, body: bytes, *more: str, status: int = 200) -> None:
        self._headed("application/json", f"Content-Length: {len(body)}", *more, status=status)
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name there
        """Says nothing."""


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Api)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join(timeout=10)
    server.server_close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, api: str) -> Iterator[GatewayProcess]:
    folder: Path = tmp_path_factory.mktemp("answers")
    gateway = GatewayProcess(folder, {"RATE_LIMIT_ENABLED": "false"})
    manifest = {"apiVersion": "gostoa.dev/v1alpha1", "kind": "ToolSet"}
    source = {"openAPISpec": {"inline": DOCUMENT}, "baseURL": api}
    defaults = {"answer": {"stream": {"maxDuration": "2s"}}}
    asking = {"answer": {"projectionArgument": "jmespath", "maxCharacters": 4096}}
    write(
        gateway,
        "orders.yaml",
        {**manifest, "metadata": {"name": "orders"}, "spec": {**source, "toolDefaults": defaults}},
        {
            **manifest,
            "metadata": {"name": "asking"},
            "spec": {
                **source,
                "naming": {"prefix": "asking_"},
                "selector": {"methods": ["GET"]},
                "toolDefaults": asking,
                "overrides": [{"operation": "follow", "enabled": False}],
            },
        },
    )
    with serving(gateway):
        yield gateway


@pytest.fixture(params=[STATELESS, HANDSHAKE])
def client(request: pytest.FixtureRequest, gateway: GatewayProcess) -> Iterator[WireClient]:
    with wire_client(gateway.url, gateway.token("cpi-admin"), request.param) as client:
        yield client


def test_stream_without_an_end_gives_the_events_so_far(client: WireClient) -> None:
    content = client.call("follow")["structuredContent"]

    events = [{"event": "order", "data": {"id": number}} for number in range(3)]
    assert content == {"messages": events, "end": "maxDuration"}


def test_stream_reports_each_event_as_progress(gateway: GatewayProcess) -> None:
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "follow", "arguments": {}, "_meta": {**ENVELOPE, "progressToken": "p"}},
    }
    headers = {
        "Authorization": f"Bearer {gateway.token('cpi-admin')}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": STATELESS,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "follow",
    }
    answer = httpx.post(f"{gateway.url}/mcp", json=message, headers=headers, timeout=20, trust_env=False)

    lines = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    progress = [line["params"]["progress"] for line in lines if line.get("method") == "notifications/progress"]
    assert progress[0] == 1
    assert progress == sorted(progress)
    assert lines[-1]["result"]["structuredContent"]["end"] == "maxDuration"


def test_long_answer_is_read_to_its_end(client: WireClient) -> None:
    result = client.call("orders")

    orders = list(result["structuredContent"]["orders"])
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    assert "of 30000 entries are shown" in result["content"][1]["text"]
    rest = result["_meta"][REST]
    while rest is not None:
        contents = client.request("resources/read", {"uri": rest["next"]}, {"Mcp-Name": rest["next"]})["contents"]
        orders += json.loads(contents[0]["text"])
        rest = contents[0].get("_meta", {}).get(REST)
    assert orders == ORDERS["orders"]


def test_long_answer_is_read_over_rest_and_by_its_caller_alone(gateway: GatewayProcess) -> None:
    url = f"{gateway.url}/mcp/v1"

    def asked(role: str, method: str, path: str, tenant: str | None = None) -> httpx.Response:
        token = gateway.token(role) if tenant is None else gateway.token(role, tenant)
        body = {"arguments": {}} if method == "POST" else None
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.request(method, url + path, json=body, headers=headers, timeout=20, trust_env=False)

    result = asked("cpi-admin", "POST", "/tools/orders/invoke").json()["result"]
    rest = result["_meta"][REST]
    read = f"/resources/read?uri={quote(rest['next'], safe='')}"
    own, other = asked("cpi-admin", "GET", read), asked("viewer", "GET", read)
    unknown = asked("viewer", "GET", read.replace(rest["next"][16:48], "0" * 32))

    assert own.status_code == 200
    assert own.json()["contents"][0]["_meta"][REST]["next"].endswith("/2")
    assert other.status_code == unknown.status_code == 404
    assert other.json()["error"] == unknown.json()["error"] == "resource_not_found"


def test_projection_is_asked_for_and_a_bad_one_is_refused(client: WireClient) -> None:
    listed = next(tool for tool in client.tools() if tool["name"] == "asking_orders")
    assert "outputSchema" not in listed
    assert "orders[].(id, name)" in listed["inputSchema"]["properties"]["jmespath"]["description"]

    asked = client.call("asking_orders", jmespath="{total: total, names: orders[:2].name}")
    refused = client.call("asking_orders", jmespath="orders[?")

    assert asked["structuredContent"] == {"total": 30_000, "names": ["order 0", "order 1"]}
    assert refused["isError"]
    assert "/jmespath" in refused["content"][0]["text"]


def test_accepted_work_is_a_task_of_a_client_that_waits(gateway: GatewayProcess) -> None:
    token = gateway.token("cpi-admin")
    declared = {"io.modelcontextprotocol/clientCapabilities": {"extensions": {TASKS: {}}}}
    ids = iter(range(1, 1000))

    def asked(method: str, params: dict[str, Any], named: str) -> dict[str, Any]:
        message = {
            "jsonrpc": "2.0",
            "id": next(ids),
            "method": method,
            "params": {**params, "_meta": {**ENVELOPE, **declared}},
        }
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": STATELESS,
            "Mcp-Method": method,
            "Mcp-Name": named,
        }
        answer = httpx.post(f"{gateway.url}/mcp", json=message, headers=headers, timeout=20, trust_env=False)
        result: dict[str, Any] = answer.json()["result"]
        return result

    created = asked("tools/call", {"name": "import_orders", "arguments": {}}, "import_orders")

    assert created["resultType"] == "task"
    task_id = created["taskId"]

    def finished() -> dict[str, Any] | None:
        task = asked("tasks/get", {"taskId": task_id}, task_id)
        return task if "result" in task else None

    task = until(finished, within=20)
    assert task is not None
    assert task["status"] == "completed"
    assert task["result"]["structuredContent"] == {"imported": 7}


def test_accepted_work_is_explained_to_others(client: WireClient) -> None:
    result = client.call("import_orders")

    assert "read its state at Location" in result["content"][0]["text"]
    assert "/jobs/1" in result["content"][0]["text"]
