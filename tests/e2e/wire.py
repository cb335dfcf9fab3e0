"""An MCP client written by hand, so that a test decides and sees every byte of the exchange."""

from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from typing import Any

import httpx

STATELESS = "2026-07-28"
HANDSHAKE = "2025-06-18"
ENVELOPE: dict[str, Any] = {
    "io.modelcontextprotocol/protocolVersion": STATELESS,
    "io.modelcontextprotocol/clientCapabilities": {},
}


class WireClient:
    """Speaks `revision`; with a handshake revision, `initialize` comes first."""

    def __init__(self, http: httpx.Client, token: str, revision: str) -> None:
        self._http = http
        self._token = token
        self._revision = revision
        self._ids = count(1)

    def initialize(self) -> None:
        params = {
            "protocolVersion": self._revision,
            "capabilities": {},
            "clientInfo": {"name": "tests", "version": "1"},
        }
        answer = self.request("initialize", params)
        assert answer["protocolVersion"] == self._revision
        accepted = self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}, {})
        assert accepted.status_code == 202

    def tools(self) -> list[dict[str, Any]]:
        """All pages."""
        listed: list[dict[str, Any]] = []
        cursor: dict[str, Any] = {}
        while True:
            page = self.request("tools/list", cursor)
            listed += page["tools"]
            if "nextCursor" not in page:
                return listed
            cursor = {"cursor": page["nextCursor"]}

    def names(self) -> set[str]:
        return {tool["name"] for tool in self.tools()}

    def call(self, tool: str, request_id: str | None = None, /, **arguments: Any) -> dict[str, Any]:
        """The tool's result."""
        headers = {} if request_id is None else {"X-Request-ID": request_id}
        return self.request("tools/call", {"name": tool, "arguments": arguments}, headers)

    def request(self, method: str, params: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
        response = self.send(method, params, headers)
        body = response.json()
        assert "result" in body, (response.status_code, body)
        result: dict[str, Any] = body["result"]
        return result

    def send(self, method: str, params: dict[str, Any], headers: dict[str, str] | None = None) -> httpx.Response:
        sent = dict(headers or {})
        if self._revision == STATELESS:
            params = {**params, "_meta": ENVELOPE}
            sent["Mcp-Method"] = method
            if "name" in params:
                sent["Mcp-Name"] = params["name"]
        return self._post({"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}, sent)

    def _post(self, message: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
        fixed = {
            "Authorization": f"Bearer {self._token}",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": self._revision,
        }
        return self._http.post("/mcp", json=message, headers={**fixed, **headers})


@contextmanager
def wire_client(url: str, token: str, revision: str = STATELESS) -> Generator[WireClient]:
    with httpx.Client(base_url=url, trust_env=False, timeout=20) as http:
        client = WireClient(http, token, revision)
        if revision != STATELESS:
            client.initialize()
        yield client
