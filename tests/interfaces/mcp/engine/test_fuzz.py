"""Whatever is posted, the answer is well formed: 2xx or 4xx, and a JSON-RPC body or an empty 202."""

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.shared.inbound import encode_header_value
from tests.interfaces.doors import HANDSHAKE_REVISIONS, STATELESS_REVISIONS, Answer, World, envelope, new_world

from stoa.interfaces.mcp.wire.envelope import is_stateless

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
versions = st.sampled_from([None, *HANDSHAKE_REVISIONS, STATELESS_REVISIONS, "v999", ""])
tokens = st.sampled_from([None, "alpha-admin", "forged"])
header_values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF), max_size=12)


def _is_well_formed(answer: Answer) -> bool:
    assert 200 <= answer.status < 500
    if answer.status == 202:
        return answer.body == b""
    assert answer.header("content-type") == "application/json"
    whole = answer.json()
    for reply in whole if isinstance(whole, list) else [whole]:
        assert reply["jsonrpc"] == "2.0"
        assert ("result" in reply) != ("error" in reply)
        if "error" in reply:
            assert set(reply["error"]) <= {"code", "message", "data"}
            assert isinstance(reply["error"]["code"], int)
            assert isinstance(reply["error"]["message"], str)
        if "id" in reply:
            assert type(reply["id"]) in {int, str}
    return True


def _world() -> World:
    """Without the tool that crashes: its answer is an internal error by intent."""
    return new_world()


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200), versions, tokens)
async def test_fuzz_of_bytes_gets_well_formed_answers(body: bytes, version: str | None, token: str | None) -> None:
    answer = await WORLD.post(None, body=body, version=version, token=token)
    assert _is_well_formed(answer)
    assert token == "alpha-admin" or answer.status == 401


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "accept",
                "content-type",
                "content-length",
                "mcp-protocol-version",
                "mcp-method",
                "mcp-name",
                "mcp-session-id",
                "x-request-id",
                "x-consumer-id",
                "authorization",
                "mcp-param-x",
            ]
        ),
        header_values,
    ),
    text,
)
async def test_fuzz_of_headers_gets_well_formed_answers(headers: dict[str, str], query: str) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add", "_meta": envelope()}}
    answer = await WORLD.post(
        message, headers=headers, query=f"?tenant_id={query.encode().hex()}&{headers.get('x', '')}"
    )
    if answer.header("content-type") != "text/event-stream":
        assert _is_well_formed(answer)


METHODS = [*new_world(has_sessions=True).engine.methods, "notifications/initialized", "notifications/cancelled"]
METHODS.remove("subscriptions/listen")  # its answer is a stream
NAMES = ["add", "echo", "note", "wipe", "private", "rare", "table", "media", "greet"]
URIS = ["memo://plain", "memo://alpha", "memo://beta", "memo://items/a/1", "stoa://tools/add", "memo://down"]
params = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(NAMES) | values,
        "arguments": st.dictionaries(st.sampled_from(["a", "b", "value", "text"]), values, max_size=3) | values,
        "uri": st.sampled_from(URIS) | values,
        "cursor": values,
        "level": st.sampled_from(["info", "error"]) | values,
        "ref": st.fixed_dictionaries({"type": st.sampled_from(["ref/prompt", "ref/resource"]), "name": values})
        | values,
        "argument": st.fixed_dictionaries({"name": text, "value": text}) | values,
        "context": values,
        "requestId": values,
        "requestState": values,
        "inputResponses": values,
        "protocolVersion": st.sampled_from(HANDSHAKE_REVISIONS) | values,
        "_meta": st.sampled_from([envelope(), envelope("v999"), {}]) | values,
    },
)
messages = st.fixed_dictionaries(
    {"jsonrpc": st.sampled_from(["2.0", "2.0", "2.0", "1.0"])},
    optional={
        "id": st.integers() | text | values,
        "method": st.sampled_from(METHODS) | text | values,
        "params": params | params | values,
        "result": values,
        "error": values,
    },
)


@settings(max_examples=100, deadline=None)
@given(messages | st.lists(messages, max_size=4), versions, st.booleans())
async def test_fuzz_of_messages_gets_well_formed_answers(message: Any, version: str | None, match: bool) -> None:
    headers: dict[str, str | None] = {"mcp-protocol-version": version}
    if match and isinstance(message, dict):
        method, inner = message.get("method"), message.get("params")
        headers["mcp-method"] = encode_header_value(method) if isinstance(method, str) else None
        name = inner.get("name") if isinstance(inner, dict) else None
        headers["mcp-name"] = encode_header_value(name) if isinstance(name, str) else None
    before = len(WORLD.events)
    answer = await WORLD.post(None, body=json.dumps(message).encode(), headers=headers)
    assert _is_well_formed(answer)
    assert len(WORLD.events) - before <= _metered(message), "one event a call at most"


def _metered(message: Any) -> int:
    each = message if isinstance(message, list) else [message]
    return sum(m.get("method") in ("tools/call", "resources/read", "prompts/get") for m in each)


@settings(max_examples=100, deadline=None)
@given(
    messages | st.lists(messages, max_size=4),
    st.sampled_from([None, *HANDSHAKE_REVISIONS]),
    st.sampled_from(HANDSHAKE_REVISIONS),
    st.sampled_from(["alpha-admin", "beta-viewer", None]),
    st.sampled_from(["application/json", "application/json, text/event-stream"]),
)
async def test_fuzz_of_messages_in_a_session_gets_well_formed_answers(
    message: Any, version: str | None, agreed: str, token: str | None, accept: str
) -> None:
    world = _with_sessions()
    session = await _session(world, agreed)
    headers = {"mcp-protocol-version": version, "mcp-session-id": session, "accept": accept}
    answer = await world.post(None, body=json.dumps(message).encode(), headers=headers, token=token)
    assert _is_well_formed(answer)
    begins_anew = isinstance(message, dict) and message.get("method") == "initialize"
    if token == "beta-viewer" and not is_stateless(version, message) and not begins_anew:
        assert answer.status == 404
    assert token is not None or answer.status == 401
    assert len(world.events) <= _metered(message)
    assert (await world.legacy("ping", headers={"mcp-session-id": session})).status == 200, "it did no harm"


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(["GET", "DELETE", "PUT", "HEAD", "OPTIONS", "PATCH", "TRACE"]),
    st.dictionaries(
        st.sampled_from(["accept", "mcp-protocol-version", "last-event-id", "origin", "authorization", "x-request-id"]),
        header_values,
    ),
    st.sampled_from(["own", "foreign", "none"]) | header_values,
    st.sampled_from(["alpha-admin", "beta-viewer", "forged", None]),
)
async def test_fuzz_of_http_methods_gets_well_formed_answers(
    http_method: str, headers: dict[str, str], named: str, token: str | None
) -> None:
    world = _with_sessions()
    session = await _session(world, "2025-11-25")
    chosen = {"own": session, "foreign": await _session(world, "2025-11-25", "beta-viewer")}
    if named != "none":
        headers = {**headers, "mcp-session-id": chosen.get(named, named)}
    so_far, gone = Answer(), asyncio.Event()
    gone.set()
    answer = await world.request(http_method, "/mcp", headers=headers, token=token, into=so_far, gone=gone)
    assert 200 <= answer.status < 500
    if answer.header("content-type") == "text/event-stream":
        assert (http_method, token, named) in {("GET", "alpha-admin", "own"), ("GET", "beta-viewer", "foreign")}
        assert b"data: {" not in answer.body, "nothing has happened in the session"
    else:
        assert answer.body in {b"", b"{}"} or answer.status in {400, 403} or _is_well_formed(answer)


def _with_sessions() -> World:
    return new_world(has_sessions=True)


async def _session(world: World, revision: str, token: str = "alpha-admin") -> str:
    params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    answer = await world.legacy("initialize", params, version=None, token=token)
    return answer.header("mcp-session-id") or ""


WORLD = _world()
