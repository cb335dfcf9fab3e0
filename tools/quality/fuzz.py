"""Fuzzing of a running gateway over HTTP: `make fuzz`, or `python -m tools.quality.fuzz --requests 1000000`.

Well-formed requests of both eras and both doors are mutated: values in the JSON, bytes of the body, headers. The tools
have recursive, union and regular-expression schemas, and the requests are calls, lists, reads, prompts, completions,
tasks, notifications, responses and batches. A finding is a status of 500 or more, an internal error in a body, an
answer later than `--slow` seconds, no answer at all, or a gateway that died. The same `--seed` gives the same requests.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.quality.gateway import Gateway, serving, start_upstream, tool

STATELESS = "2026-07-28"
HANDSHAKE = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", None)
NO_ANSWER_SECONDS = 10.0
STREAM_SECONDS = 0.02
"""How long an event stream is read; it has no end of its own."""

_NODE = {"type": "object", "required": ["op", "of"], "additionalProperties": False}
FILTER = {
    "$defs": {
        "Filter": {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in ("not", "any", "all", "leaf")]},
        "not": _NODE | {"properties": {"op": {"const": "not"}, "of": {"$ref": "#/$defs/Filter"}}},
        "any": _NODE | {"properties": {"op": {"enum": ["any", "or"]}, "of": {"$ref": "#/$defs/Filter"}}},
        "all": _NODE | {"properties": {"op": {"type": "string"}, "of": {"$ref": "#/$defs/Filter"}}},
        "leaf": {
            "type": "object",
            "properties": {
                "op": {"type": "string"},
                "field": {"type": "string"},
                "value": {"type": ["string", "number"]},
            },
            "required": ["op", "field", "value"],
            "additionalProperties": False,
        },
    }
}
"""A recursive union, as query languages have it; deep values make naive error reports exponential."""

SCHEMAS: dict[str, dict[str, Any]] = {
    "plain": {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "ok": {"type": "boolean"}, "tags": {"type": "array"}},
    },
    "recursive": {"type": "object", "properties": {"filter": {"$ref": "#/$defs/Filter"}}, **FILTER},
    "union": {
        "type": "object",
        "properties": {
            "value": {
                "anyOf": [
                    {"type": "object", "properties": {"kind": {"const": name}, "x": {"type": kind}}, "required": ["x"]}
                    for name, kind in (("a", "string"), ("b", "integer"), ("c", "array"))
                ]
            }
        },
        "allOf": [{"if": {"required": ["value"]}, "then": {"minProperties": 1}}],
    },
    "chain": {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/0"}},
        "$defs": {str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(18)}
        | {"18": {"type": "string"}},
    },
    "regex": {
        "type": "object",
        "properties": {
            "word": {"type": "string", "pattern": "^(?:a|aa)+$"},
            "ahead": {"type": "string", "pattern": "^(?:(?=a)a+)+$"},
            "mail": {"type": "string", "pattern": r"^([a-zA-Z0-9]+[._-]?)+@([a-z]+\.)+[a-z]{2,}$"},
        },
        "patternProperties": {r"^x-(\p{L}|\d)+$": {"type": "string"}},
        "additionalProperties": {"type": "string", "maxLength": 50},
    },
    "unique": {"type": "object", "properties": {"items": {"type": "array", "uniqueItems": True}}},
    "routed": {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}},
}

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 1.5, -0.0, 1e308, 2**31, 2**63, 2**64, 10**30, "", " ", "a", "true", "7", "-5", "[7]",
    '{"a": 1}', "null", "\x00", "\u202e", "🙂" * 10, "a" * 3000, "../../admin", "..%2f", "{{x}}", "[/foo]", "\x1b[31m",
    "__proto__", "stoa://apis/x", "memo://x", [], {}, [[]], [None] * 50, {"": ""}, {"$ref": "#"},
]  # fmt: skip
METHODS = (
    "initialize", "ping", "server/discover", "tools/list", "tools/call", "resources/list", "resources/templates/list",
    "resources/read", "prompts/list", "prompts/get", "completion/complete", "tasks/get", "tasks/update", "tasks/cancel",
    "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "subscriptions/listen", "no/such",
    "notifications/initialized", "notifications/cancelled", "notifications/roots/list_changed",
)  # fmt: skip
TOOLS = (*SCHEMAS, "background", "nothing", "othertenants")


@dataclass
class Request:
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def encoded(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in self.headers)]
        if self.body or self.method == "POST":
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "replace") + self.body


@dataclass
class Finding:
    number: int
    reason: str
    seconds: float
    request: bytes
    answer: bytes


@dataclass
class Tally:
    statuses: Counter[int] = field(default_factory=Counter[int])
    findings: list[Finding] = field(default_factory=list[Finding])
    done: int = 0
    slowest: float = 0.0
    restarts: int = 0
    session: str | None = None
    tasks: list[str] = field(default_factory=list[str])


class Generator:
    """Makes one request from one number."""

    def __init__(self, tokens: list[str | None], port: int, seed: int) -> None:
        self._tokens = tokens
        self._port = port
        self._seed = seed

    def request(self, number: int, tally: Tally) -> Request:
        rng = random.Random(f"{self._seed}-{number}")
        token = rng.choice(self._tokens)
        if rng.random() < 0.12:
            return self._rest(rng, token)
        return self._mcp(rng, token, tally)

    def _mcp(self, rng: random.Random, token: str | None, tally: Tally) -> Request:
        headers = self._headers(token)
        accepts = rng.choice(["application/json", "application/json, text/event-stream", "*/*", "text/event-stream"])
        headers.append(("Accept", accepts))
        if rng.random() < 0.03:
            if tally.session and rng.random() < 0.7:
                headers.append(("Mcp-Session-Id", tally.session))
            return Request(rng.choice(["GET", "DELETE", "PUT", "OPTIONS"]), "/mcp", headers, b"")
        version: str | None
        if rng.random() < 0.5:
            message = self._message(rng, tally, is_stateless=True)
            version = STATELESS
            headers.append(("Mcp-Method", str(message.get("method"))))
            params = message.get("params")
            if isinstance(params, dict):
                name = params.get("name", params.get("uri", params.get("taskId")))
                if isinstance(name, str) and name.isprintable() and name.isascii():
                    headers.append(("Mcp-Name", name))
            content: Any = message
        else:
            version = rng.choice(HANDSHAKE)
            content = self._message(rng, tally, is_stateless=False)
            if rng.random() < 0.15:
                content = [
                    self._message(rng, tally, is_stateless=False) for _ in range(rng.choice([0, 1, 2, 5, 49, 51]))
                ]
            if tally.session and rng.random() < 0.5:
                headers.append(("Mcp-Session-Id", tally.session))
        if version is not None:
            headers.append(("MCP-Protocol-Version", version))
        body = self._body(rng, content)
        if rng.random() < 0.1:
            headers = self._mutated_headers(rng, headers)
        return Request(
            "POST", rng.choice(["/mcp"] * 9 + ["/mcp?tags=a", "/mcp?toolset=x&profile=faithful"]), headers, body
        )

    def _rest(self, rng: random.Random, token: str | None) -> Request:
        headers = self._headers(token)
        name = rng.choice(TOOLS)
        if rng.random() < 0.6:
            body = self._body(rng, {"arguments": self._arguments(rng, name)})
            return Request("POST", f"/mcp/v1/tools/{name}/invoke", headers, body)
        target = rng.choice(
            ["/mcp/v1/", "/mcp/v1/tools", f"/mcp/v1/tools/{name}", "/mcp/v1/tools/categories", "/mcp/v1/tools/tags",
             "/mcp/v1/resources", "/mcp/v1/resources/read?uri=memo://1", "/mcp/v1/prompts", "/mcp/v1/tools?limit=-1",
             "/mcp/v1/tools?cursor=%00&search=%ff", "/ready", "/metrics", "/%2e%2e/", "/mcp/v1/tools/%2e%2e%2finvoke"]
        )  # fmt: skip
        return Request("GET", target, headers, b"")

    def _headers(self, token: str | None) -> list[tuple[str, str]]:
        headers = [("Host", f"127.0.0.1:{self._port}"), ("Content-Type", "application/json")]
        return headers if token is None else [*headers, ("Authorization", f"Bearer {token}")]

    def _message(self, rng: random.Random, tally: Tally, *, is_stateless: bool) -> dict[str, Any]:
        method = rng.choice(("tools/call",) * 12 + METHODS)
        params: Any = self._params(rng, method, tally)
        if is_stateless:
            capabilities = {"extensions": {"io.modelcontextprotocol/tasks": {}}} if rng.random() < 0.4 else {}
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": STATELESS,
                "io.modelcontextprotocol/clientCapabilities": capabilities,
            }
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
        if not method.startswith("notifications/") or rng.random() < 0.1:
            message["id"] = rng.choice([1, "a", 0, rng.randrange(10**6)])
        if rng.random() < 0.02:
            message = {"jsonrpc": "2.0", "id": rng.choice([1, "x"]), "result": self._odd(rng, 2)}
        return message

    def _params(self, rng: random.Random, method: str, tally: Tally) -> dict[str, Any]:
        if method == "initialize":
            client = {"name": "fuzz", "version": "1"}
            return {"protocolVersion": rng.choice(HANDSHAKE[:-1]), "capabilities": {}, "clientInfo": client}
        if method == "tools/call":
            name = rng.choice(TOOLS)
            params: dict[str, Any] = {"name": name, "arguments": self._arguments(rng, name)}
            if rng.random() < 0.05:
                params |= {"inputResponses": self._odd(rng, 2), "requestState": "x" * rng.choice([1, 500])}
            return params
        if method.startswith("resources/"):
            return {
                "uri": rng.choice(["memo://1", "note://fixed", "stoa://apis/x", "../x", "http://", "memo://%2e%2e"])
            }
        if method == "prompts/get":
            return {"name": rng.choice(["greet", "nothing"]), "arguments": {"who": self._odd(rng, 0)}}
        if method == "completion/complete":
            return {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "who", "value": "a"}}
        if method.startswith("tasks/"):
            return {"taskId": rng.choice([*tally.tasks[-5:], "nothing"]), "inputResponses": {}}
        if method == "subscriptions/listen":
            return {"notifications": {"toolsListChanged": True, "resourceSubscriptions": ["memo://1"]}}
        return {"level": "info", "cursor": rng.choice([None, "", "x", "eyJ9"]), "requestId": 1}

    def _arguments(self, rng: random.Random, name: str) -> Any:
        if name == "recursive":
            return {"filter": _filter(rng, rng.choice([1, 3, 8, 15, 30]))}
        if name == "union":
            return {"value": {"kind": rng.choice(["a", "b", "c", "d"]), "x": self._odd(rng, 1)}}
        if name == "chain":
            return {"a": rng.choice(["x", 1, None])}
        if name == "regex":
            text = rng.choice(["a" * rng.randrange(60) + rng.choice(["", "!"]), "x." * 30 + "@", "abc"])
            return {rng.choice(["word", "ahead", "mail", "x-ä1", "y"]): text}
        if name == "unique":
            return {"items": [rng.choice([n, str(n), [n], {"n": n}]) for n in range(rng.choice([3, 100, 400]))]}
        if name == "routed":
            return {"region": self._odd(rng, 0)}
        return {
            "n": rng.choice([1, "1", "x", 1.0, 10**20]),
            "ok": rng.choice([True, "true"]),
            "tags": self._odd(rng, 1),
        }

    def _odd(self, rng: random.Random, depth: int) -> Any:
        choice = rng.random()
        if depth and choice < 0.2:
            return [self._odd(rng, depth - 1) for _ in range(rng.randrange(4))]
        if depth and choice < 0.4:
            return {rng.choice(["a", "", "name", "é"]): self._odd(rng, depth - 1) for _ in range(rng.randrange(4))}
        return rng.choice(ODD)

    def _body(self, rng: random.Random, content: Any) -> bytes:
        choice = rng.random()
        if choice < 0.35:
            content = _with_mutated_value(rng, content, lambda: self._odd(rng, 2))
        body = json.dumps(content, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
        if choice > 0.88:
            body = _with_mutated_bytes(rng, body)
        elif choice > 0.87:
            depth = rng.choice([50, 250, 300, 5000])
            body = body.replace(b"null", b"[" * depth + b"]" * depth, 1)
        return body

    def _mutated_headers(self, rng: random.Random, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        position = rng.randrange(1, len(headers))
        name, value = headers[position]
        change = rng.randrange(4)
        if change == 0:
            return [*headers[:position], *headers[position + 1 :]]
        if change == 1:
            return [*headers, (name, value)]
        if change == 2:
            return [*headers[:position], (name, value[: rng.randrange(len(value) + 1)]), *headers[position + 1 :]]
        values = ["", "x", "2026-07-28", "é", "a" * 2000, "Bearer ", "Bearer a.b.c", "text/plain", "=?base64?w6k=?="]
        return [*headers[:position], (name, rng.choice(values)), *headers[position + 1 :]]


def _filter(rng: random.Random, depth: int) -> Any:
    if depth == 0:
        wrong = [{"op": "eq", "field": 1, "value": 1}, {"op": "eq"}, {"op": "eq", "field": "a", "value": 1, "c": 1}, 7]
        return rng.choice([{"op": "eq", "field": "a", "value": 1}, *wrong])
    return {"op": rng.choice(["not", "any", "or", "all"]), "of": _filter(rng, depth - 1)}


def _with_mutated_value(rng: random.Random, content: Any, odd: Callable[[], Any]) -> Any:
    """`content` with one value, chosen by walking down at random, replaced or removed."""
    if not isinstance(content, (dict, list)) or not content or rng.random() < 0.15:
        return odd()
    if isinstance(content, list):
        position = rng.randrange(len(content))
        return [*content[:position], _with_mutated_value(rng, content[position], odd), *content[position + 1 :]]
    key = rng.choice(list(content))
    if rng.random() < 0.1:
        return {name: value for name, value in content.items() if name != key}
    return {**content, key: _with_mutated_value(rng, content[key], odd)}


def _with_mutated_bytes(rng: random.Random, body: bytes) -> bytes:
    at, length = rng.randrange(len(body) + 1), rng.randrange(1, 20)
    change = rng.randrange(4)
    if change == 0:
        return body[:at]
    if change == 1:
        return body[:at] + body[at + length :]
    if change == 2:
        return body[:at] + body[at : at + length] * 3 + body[at + length :]
    return body[:at] + rng.randbytes(length) + body[at:]


class Client:
    """One connection that is made again whenever the gateway has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: Request) -> tuple[int, dict[bytes, bytes], bytes, float]:
        """Status, headers, body and seconds until all of it, or the head of an event stream, was there."""
        is_reused = self._streams is not None
        try:
            return await self._exchange(request)
        except (asyncio.IncompleteReadError, ConnectionError):
            await self.close()
            if not is_reused:
                raise
            return await self._exchange(request)  # the idle connection was closed by the gateway

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _exchange(self, request: Request) -> tuple[int, dict[bytes, bytes], bytes, float]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        reader, writer = self._streams
        began = time.perf_counter()
        writer.write(request.encoded())
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
        if headers.get(b"content-type", b"").startswith(b"text/event-stream"):
            seconds = time.perf_counter() - began
            body = b""
            try:
                async with asyncio.timeout(STREAM_SECONDS):
                    body = await reader.read(65536)
            except TimeoutError:
                pass
            await self.close()
        else:
            body = await self._body(reader, headers, request.method)
            seconds = time.perf_counter() - began
        if headers.get(b"connection", b"").lower() == b"close":
            await self.close()
        return int(lines[0].split(b" ")[1]), headers, body, seconds

    async def _body(self, reader: asyncio.StreamReader, headers: dict[bytes, bytes], method: str) -> bytes:
        if method == "HEAD":
            return b""
        if b"content-length" in headers:
            return await reader.readexactly(int(headers[b"content-length"]))
        if headers.get(b"transfer-encoding") != b"chunked":
            return b""
        parts: list[bytes] = []
        while size := int((await reader.readuntil(b"\r\n")).strip() or b"0", 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
        await reader.readuntil(b"\r\n")
        return b"".join(parts)


async def fuzz(gateway: Gateway, tokens: list[str | None], options: argparse.Namespace) -> Tally:
    tally, generator = Tally(), Generator(tokens, gateway.port, options.seed)
    numbers = iter(range(options.first, options.first + options.requests))
    reporting = asyncio.create_task(_report(tally, options.requests, gateway))
    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(options.connections):
                workers.create_task(_work(numbers, generator, Client(gateway.port), tally, options.slow))
    finally:
        reporting.cancel()
    return tally


async def _work(numbers: Any, generator: Generator, client: Client, tally: Tally, slow_seconds: float) -> None:
    for number in numbers:
        request = generator.request(number, tally)
        try:
            async with asyncio.timeout(NO_ANSWER_SECONDS):
                status, headers, body, seconds = await client.send(request)
        except TimeoutError:
            await client.close()
            tally.findings.append(Finding(number, "no answer", NO_ANSWER_SECONDS, request.encoded(), b""))
        except (OSError, asyncio.IncompleteReadError) as lost:
            await client.close()
            tally.findings.append(Finding(number, f"connection lost: {lost!r}", 0, request.encoded(), b""))
        else:
            _judge(tally, number, request, status, body, seconds, slow_seconds)
            if b"mcp-session-id" in headers:
                tally.session = headers[b"mcp-session-id"].decode()
            if b'"taskId":"' in body:
                tally.tasks.append(body.partition(b'"taskId":"')[2].partition(b'"')[0].decode())
        tally.done += 1
    await client.close()


def _judge(
    tally: Tally, number: int, request: Request, status: int, body: bytes, seconds: float, slow_seconds: float
) -> None:
    tally.statuses[status] += 1
    tally.slowest = max(tally.slowest, seconds)
    reasons = {
        f"status {status}": status >= 500,
        "internal error": b"Internal error" in body or b"-32603" in body,
        "slow": seconds > slow_seconds,
    }
    for reason, holds in reasons.items():
        if holds:
            tally.findings.append(Finding(number, reason, seconds, request.encoded(), body[:2000]))


async def _report(tally: Tally, requests: int, gateway: Gateway) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(10)
        rate = tally.done / (time.monotonic() - began)
        print(
            f"{tally.done:>9,} of {requests:,}  {rate:6,.0f}/s  slowest {tally.slowest:.3f} s  "
            f"findings {len(tally.findings)}  gateway {gateway.memory_mib()} MiB",
            flush=True,
        )


def manifests(upstream: str) -> list[dict[str, Any]]:
    """The catalogue that is fuzzed."""
    tools = [tool(name, f"{upstream}/{name}", method="POST", inputSchema=schema) for name, schema in SCHEMAS.items()]
    own = [
        tool("background", f"{upstream}/background", tasks="optional"),
        tool("othertenants", f"{upstream}/other", tenant="beta", inputSchema=SCHEMAS["regex"], tasks="optional"),
    ]
    about = {"apiVersion": "gostoa.dev/v1alpha1"}
    content = [
        {"kind": "Resource", "metadata": {"name": "fixed"}, "spec": {"uri": "note://fixed", "text": "x"}},
        {
            "kind": "Resource",
            "metadata": {"name": "memo"},
            "spec": {"uriTemplate": "memo://{id}", "endpoint": f"{upstream}/memo/{{id}}"},
        },
        {
            "kind": "Prompt",
            "metadata": {"name": "greet"},
            "spec": {"arguments": [{"name": "who", "completions": ["a"]}], "messages": [{"text": "Hi {{who}}"}]},
        },
    ]
    return [*tools, *own, *(about | manifest for manifest in content)]


async def _main(options: argparse.Namespace) -> int:
    upstream, url = await start_upstream()
    with tempfile.TemporaryDirectory(prefix="stoa-fuzz-") as scratch:
        folder = Path(options.folder or scratch)
        with serving(folder, manifests(url), {}) as gateway:
            names = (("cpi-admin", None), ("tenant-admin", "acme"), ("viewer", "acme"), ("viewer", "beta"))
            tokens = [*(gateway.token(*name) for name in names), None]
            began = time.monotonic()
            tally = await fuzz(gateway, tokens, options)
            seconds = time.monotonic() - began
            alive = gateway.process.poll() is None and gateway.get("/live")[0] == 200
            memory = gateway.memory_mib() if alive else 0
    upstream.close()
    print(f"{tally.done:,} requests in {seconds:.0f} s, slowest {tally.slowest:.3f} s, gateway {memory} MiB")
    print("statuses:", ", ".join(f"{status}: {count:,}" for status, count in sorted(tally.statuses.items())))
    for finding in tally.findings[:20]:
        print(f"- request {finding.number}: {finding.reason}, {finding.seconds:.3f} s")
        print(f"  {finding.request[-600:]!r}\n  -> {finding.answer[:300]!r}")
    print(f"{len(tally.findings)} findings" + ("" if alive else "; the gateway died"))
    return 1 if tally.findings or not alive else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.quality.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first request, to repeat a finding")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--slow", type=float, default=0.5, help="seconds")
    parser.add_argument("--folder", help="where catalogue, data and log are kept; default: a temporary folder")
    return asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
