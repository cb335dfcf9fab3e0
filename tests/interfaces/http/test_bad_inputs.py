"""Everything that can be wrong with a call, through both HTTP doors of the gateway as it is served: the answer, and the
metering event. Tokens are real ones of the dev issuer, some of them tampered with."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.interfaces.doors import DESTROY, READ, SECRET, Answer, modern, send
from tests.interfaces.served import Served, manifest, serving

from stoa.infrastructure.oidc import DevIssuer
from stoa.interfaces.bootstrap import DEV_ISSUER
from stoa.interfaces.settings import Settings
from stoa.interfaces.wire.bodies import BODY_LIMIT


async def _speak_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(b"\x00\x01 this is no HTTP\r\n\r\n")
    await writer.drain()
    writer.close()


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Served]:
    """A gateway in front of upstreams that are down, slow and confused."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    confused = await asyncio.start_server(_speak_nonsense, "127.0.0.1", 0)
    silent = await asyncio.start_server(_say_nothing, "127.0.0.1", 0)
    closed = await asyncio.start_server(_say_nothing, "127.0.0.1", 0)
    ports = [server.sockets[0].getsockname()[1] for server in (confused, silent, closed)]
    closed.close()
    documents = [
        manifest("garbage", f"http://127.0.0.1:{ports[0]}/x"),
        manifest("slow", f"http://127.0.0.1:{ports[1]}/x", timeout="100ms"),
        manifest("down", f"http://127.0.0.1:{ports[2]}/x"),
        manifest("of-beta", f"http://127.0.0.1:{ports[2]}/x", "beta"),
    ]
    (tmp_path / "tools.yaml").write_text("\n---\n".join(documents), encoding="utf-8")
    async with serving(tmp_path, catalogue_path=(str(tmp_path / "tools.yaml"),)) as gateway:

        @gateway.gateway.tool(annotations=READ)
        async def add(a: int, b: int = 0) -> int:
            return a + b

        @gateway.gateway.tool(annotations=DESTROY)
        async def wipe() -> None:
            pass

        @gateway.gateway.tool
        async def crash() -> None:
            raise RuntimeError(SECRET)

        yield gateway
    for server in (confused, silent):
        server.close()


def _b64(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _claims(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def _unsigned(served: Served) -> str:
    return f"{_b64({'alg': 'none', 'typ': 'JWT'})}.{_b64(_claims(served.token()))}."


def _promoted(served: Served) -> str:
    """A viewer's token whose claims say cpi-admin; the signature is the old one."""
    head, _, signature = (token := served.token("viewer")).split(".")
    return f"{head}.{_b64({**_claims(token), 'realm_access': {'roles': ['cpi-admin']}})}.{signature}"


def _of_another_key(served: Served) -> str:
    issuer = DevIssuer(served.settings.data_dir / "other", DEV_ISSUER, "stoa-mcp-gateway", served.clock, "dev")
    return issuer.issue(subject="x", tenant="alpha", roles=frozenset({"cpi-admin"}), lifetime_seconds=60)


def _for_another_audience(served: Served) -> str:
    issuer = DevIssuer(served.settings.data_dir, DEV_ISSUER, "https://other.example/mcp", served.clock, "dev")
    return issuer.issue(subject="x", tenant="alpha", roles=frozenset({"cpi-admin"}), lifetime_seconds=60)


def _of_another_issuer(served: Served) -> str:
    name = "http://127.0.0.1/other-issuer"
    issuer = DevIssuer(served.settings.data_dir, name, "stoa-mcp-gateway", served.clock, "dev")
    return issuer.issue(subject="x", tenant="alpha", roles=frozenset({"cpi-admin"}), lifetime_seconds=60)


def _expired(served: Served) -> str:
    token = served.token(lifetime=60)
    served.clock.advance(3600)
    return token


BAD_TOKENS: dict[str, Callable[[Served], str | None]] = {
    "missing": lambda _: None,
    "no JWT": lambda _: "opaque",
    "two parts": lambda served: served.token().rpartition(".")[0],
    "alg none": _unsigned,
    "claims changed": _promoted,
    "another key": _of_another_key,
    "another audience": _for_another_audience,
    "another issuer": _of_another_issuer,
    "expired": _expired,
}


async def _mcp(served: Served, name: str, arguments: Any, token: str | None, *, is_modern: bool) -> Answer:
    message, sent = modern("tools/call", {"name": name, "arguments": arguments})
    headers = {"content-type": "application/json", **{key: value for key, value in sent.items() if value}}
    if not is_modern:
        headers = {"content-type": "application/json", "mcp-protocol-version": "2025-11-25"}
        del message["params"]["_meta"]
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return await send(served.app, "POST", "/mcp", headers=headers, body=json.dumps(message).encode())


async def _everywhere(served: Served, name: str, arguments: Any, token: str | None) -> list[Answer]:
    return [
        await served.call(name, arguments, token),
        await _mcp(served, name, arguments, token, is_modern=True),
        await _mcp(served, name, arguments, token, is_modern=False),
    ]


def _recorded(served: Served) -> list[str]:
    return [event.status.value for event in served.events]


@pytest.mark.parametrize("kind", BAD_TOKENS)
async def test_a_token_that_proves_nothing_is_401_and_metered_through_every_door(served: Served, kind: str) -> None:
    token = BAD_TOKENS[kind](served)
    for answer in await _everywhere(served, "add", {"a": 1}, token):
        assert answer.status == 401
        challenge = answer.header("www-authenticate") or ""
        assert challenge.startswith("Bearer ")
        assert ('error="invalid_token"' in challenge) == (kind != "missing")
        assert "resource_metadata" not in challenge  # the development issuer has no page to log in at
        if token is not None:
            assert token not in challenge
            assert token.encode() not in answer.body
    await served.gateway.flush_refusals()
    counted = {(event.tenant, event.user_id, event.tool, event.status.value) for event in served.events}
    assert counted == {("-", "-", "(unknown)", "unauthorized")}
    assert sum(event.calls for event in served.events) == 3


@pytest.mark.parametrize(("role", "tool"), [("viewer", "wipe"), ("tenant-admin", "wipe"), ("", "add"), ("boss", "add")])
async def test_a_missing_role_is_403_and_metered_through_every_door(served: Served, role: str, tool: str) -> None:
    for answer in await _everywhere(served, tool, {}, served.token(role)):
        assert answer.status == 403
        assert answer.header("www-authenticate") is None  # no other token of this user would help
    assert _recorded(served) == ["unauthorized"] * 3


@pytest.mark.parametrize("name", ["no-such-tool", "of-beta"])
async def test_an_unknown_or_invisible_tool_is_not_found_through_every_door(served: Served, name: str) -> None:
    rest, stateless, handshake = await _everywhere(served, name, {}, served.token())
    assert (rest.status, rest.json()["error"], rest.json()["message"]) == (
        404,
        "tool_not_found",
        f"Unknown tool: {name}",
    )
    for answer, status in ((stateless, 400), (handshake, 200)):
        assert (answer.status, answer.json()["error"]["code"]) == (status, -32602)
        assert answer.json()["error"]["message"] == f"Unknown tool: {name}"
    assert _recorded(served) == ["invalid"] * 3


@pytest.mark.parametrize(
    ("arguments", "path"),
    [({}, "(root): "), ({"a": "x"}, "/a: "), ({"a": 1, "b": []}, "/b: "), ({"a": 1, "z": 0}, "(root): ")],
)
async def test_invalid_arguments_name_path_and_expectation_through_every_door(
    served: Served, arguments: Any, path: str
) -> None:
    rest, *of_mcp = await _everywhere(served, "add", arguments, served.token())
    assert (rest.status, rest.json()["error"]) == (400, "invalid_arguments")
    expected = rest.json()["message"]
    assert path in expected
    for answer in of_mcp:
        assert answer.status == 200
        assert answer.json()["result"] | {"_meta": 0, "resultType": 0} == {
            "content": [{"type": "text", "text": expected}],
            "isError": True,
            "_meta": 0,
            "resultType": 0,
        }
    assert _recorded(served) == ["invalid"] * 3


@pytest.mark.parametrize(
    ("name", "code", "status"),
    [
        ("down", "backend_unavailable", "error"),
        ("slow", "backend_timeout", "timeout"),
        ("garbage", "backend_protocol_error", "error"),
    ],
)
async def test_an_upstream_that_fails_is_an_error_result_through_every_door(
    served: Served, name: str, code: str, status: str
) -> None:
    for answer in await _everywhere(served, name, {}, served.token()):
        assert answer.status == 200
        result = answer.json()["result"]
        assert result["isError"] is True
        assert result["content"][0]["text"].endswith(f"[{code}]")
        assert "127.0.0.1" not in result["content"][0]["text"], "upstream addresses are nobody's business"
    assert _recorded(served) == [status] * 3


async def test_a_defect_of_ours_leaks_nothing_through_any_door(served: Served) -> None:
    for answer in await _everywhere(served, "crash", {}, served.token()):
        assert SECRET.encode() not in answer.body
        assert b"Internal error" in answer.body
    assert _recorded(served) == ["error"] * 3


@pytest.mark.parametrize("version", ["2026-07-28", "2025-11-25"])
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, -32700),
        (b'{"jsonrpc": "2.0", "id": 1}', 400, -32600),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "tools/call"}', 400, -32600),
        (b" " * (BODY_LIMIT + 1), 413, -32600),
    ],
    ids=["not JSON", "no method", "wrong JSON-RPC", "too large"],
)
async def test_what_is_no_message_is_refused_and_is_no_invocation(
    served: Served, version: str, body: bytes, status: int, code: int
) -> None:
    headers = {
        "content-type": "application/json",
        "authorization": f"Bearer {served.token()}",
        "mcp-protocol-version": version,
    }
    answer = await send(served.app, "POST", "/mcp", headers=headers, body=body)
    assert (answer.status, answer.json()["error"]["code"], "id" in answer.json()) == (status, code, False)
    assert served.events == []


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b"[1]", 400), (b" " * (BODY_LIMIT + 1), 413)])
async def test_a_rest_body_that_says_nothing_usable_is_refused_and_metered(
    served: Served, body: bytes, status: int
) -> None:
    headers = {"authorization": f"Bearer {served.token()}"}
    answer = await send(served.app, "POST", "/mcp/v1/tools/add/invoke", headers=headers, body=body)
    assert answer.status == status
    assert _recorded(served) == ["invalid"]


async def test_numbers_that_json_cannot_say_are_invalid_arguments(served: Served) -> None:
    headers = {"authorization": f"Bearer {served.token()}"}
    body = b'{"arguments": {"a": 1e999}}'
    answer = await send(served.app, "POST", "/mcp/v1/tools/add/invoke", headers=headers, body=body)
    assert (answer.status, answer.json()["error"]) == (400, "invalid_arguments")
