"""Whatever is posted, the answer is well formed: 2xx or 4xx, and a JSON-RPC body or an empty 202."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.shared.inbound import encode_header_value
from tests.interfaces.doors import LEGACY, MODERN, Answer, World, envelope, new_world

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
versions = st.sampled_from([None, *LEGACY, MODERN, "v999", ""])
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


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), versions, tokens)
async def test_arbitrary_bytes_get_a_well_formed_answer(body: bytes, version: str | None, token: str | None) -> None:
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
async def test_arbitrary_headers_get_a_well_formed_answer(headers: dict[str, str], query: str) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add", "_meta": envelope()}}
    answer = await WORLD.post(
        message, headers=headers, query=f"?tenant_id={query.encode().hex()}&{headers.get('x', '')}"
    )
    if answer.header("content-type") != "text/event-stream":
        assert _is_well_formed(answer)


METHODS = ["initialize", "ping", "server/discover", "tools/list", "tools/call", "notifications/initialized"]
NAMES = ["add", "echo", "note", "wipe", "private", "rare", "table", "media"]
params = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(NAMES) | values,
        "arguments": st.dictionaries(st.sampled_from(["a", "b", "value", "text"]), values, max_size=3) | values,
        "cursor": values,
        "protocolVersion": st.sampled_from(LEGACY) | values,
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


@settings(max_examples=300, deadline=None)
@given(messages | st.lists(messages, max_size=4), versions, st.booleans())
async def test_messages_of_every_kind_get_a_well_formed_answer(message: Any, version: str | None, match: bool) -> None:
    headers: dict[str, str | None] = {"mcp-protocol-version": version}
    if match and isinstance(message, dict):
        method, inner = message.get("method"), message.get("params")
        headers["mcp-method"] = encode_header_value(method) if isinstance(method, str) else None
        name = inner.get("name") if isinstance(inner, dict) else None
        headers["mcp-name"] = encode_header_value(name) if isinstance(name, str) else None
    before = len(WORLD.events)
    answer = await WORLD.post(None, body=json.dumps(message).encode(), headers=headers)
    assert _is_well_formed(answer)
    calls = [m for m in (message if isinstance(message, list) else [message]) if m.get("method") == "tools/call"]
    assert len(WORLD.events) - before <= len(calls), "one event a call at most"


WORLD = _world()
