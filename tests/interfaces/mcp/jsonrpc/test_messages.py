"""JSON-RPC messages as bytes and back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.jsonrpc.messages import Fault, Notification, Request, Response

text = st.text(st.characters(exclude_categories=["Cs"]))
ids = text | st.integers(-(10**30), 10**30)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(text, values, max_size=4)


@given(ids, text, objects)
def test_json_rpc_request_reads_as_it_was_written(request_id: Any, method: str, params: dict[str, Any]) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}).encode()
    assert messages.read(messages.parse(body)) == Request(request_id, method, params)


@given(ids, objects)
def test_json_rpc_result_carries_the_id_with_its_json_type(request_id: Any, value: dict[str, Any]) -> None:
    written = json.loads(messages.result(request_id, value))
    assert written == {"jsonrpc": "2.0", "id": request_id, "result": value}
    assert type(written["id"]) is type(request_id)


@given(ids | st.none(), st.integers(-40000, 40000), text, values)
def test_json_rpc_error_leaves_out_what_is_unknown(request_id: Any, code: int, message: str, data: Any) -> None:
    written = json.loads(messages.error(request_id, code, message, data))
    known = {"id": request_id} if request_id is not None else {}
    rest = {"data": data} if data is not None else {}
    assert written == {"jsonrpc": "2.0", **known, "error": {"code": code, "message": message, **rest}}


def test_json_rpc_message_without_id_is_a_notification_and_one_with_a_result_a_response() -> None:
    assert messages.read({"jsonrpc": "2.0", "method": "a/b", "params": {"x": 1}}) == Notification("a/b", {"x": 1})
    assert messages.read({"jsonrpc": "2.0", "id": 1, "result": {}}) == Response(1, {})
    assert messages.read({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": ""}}) == Response(1, None)


@pytest.mark.parametrize("bad", [None, True, 1.5, {}, [], [1]])
def test_json_rpc_id_that_is_neither_text_nor_integer_is_refused(bad: Any) -> None:
    with pytest.raises(Fault) as refused:
        messages.read({"jsonrpc": "2.0", "id": bad, "method": "ping"})
    assert (refused.value.code, refused.value.request_id) == (-32600, None)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"nul", b'{"a":NaN}', b'{"a":Infinity}', b'"\\ud800"', b"[" * 5000, b"1" * 5000],
)
def test_json_rpc_body_that_is_not_json_is_a_parse_error_without_an_id(body: bytes) -> None:
    with pytest.raises(Fault) as refused:
        messages.parse(body)
    assert (refused.value.code, refused.value.request_id, refused.value.http_status) == (-32700, None, 400)


@pytest.mark.parametrize("rest", ["", ',"params":null', ',"params":{}'])
def test_json_rpc_params_of_null_are_none(rest: str) -> None:
    assert messages.read(messages.parse(f'{{"jsonrpc":"2.0","id":1,"method":"m"{rest}}}'.encode())) == Request(
        1, "m", {}
    )


def test_byte_order_mark_is_skipped_once() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"m"}'
    assert messages.read(messages.parse(b"\xef\xbb\xbf" + body)) == Request(1, "m", {})
    with pytest.raises(Fault):
        messages.parse(b"\xef\xbb\xbf\xef\xbb\xbf" + body)
