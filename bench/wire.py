"""One tools/call as bytes, in both wire forms of MCP over Streamable HTTP, and what a right answer to it is.

The same bytes are sent by the check before a measurement and by wrk (`post.lua`): MARK stands where the number of the
call goes, six digits wide, so that every call differs and the Content-Length does not.
"""

import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench import upstream
from bench.errors import CannotMeasure

TOOL = "get_item"
MARK = "@@@@@@"
NUMBER = 123456
"""The call that a check makes."""
_META = "io.modelcontextprotocol/"
_CLIENT = {"name": "stoa-bench", "version": "1"}


@dataclass(frozen=True, slots=True)
class WireForm:
    name: str
    version: str
    is_modern: bool


STATELESS_REVISIONS = WireForm("modern", "2026-07-28", is_modern=True)
HANDSHAKE_REVISIONS = WireForm("legacy", "2025-11-25", is_modern=False)
WIRE_FORMS = {form.name: form for form in (STATELESS_REVISIONS, HANDSHAKE_REVISIONS)}


@dataclass(frozen=True, slots=True)
class Target:
    """Where and as whom to call."""

    port: int
    path: str = "/mcp"
    token: str = field(default="", repr=False)
    session: str = field(default="", repr=False)
    member: str = ""
    """The member of the arguments that holds the item's; empty: the arguments are the item's themselves."""


def template(target: Target, form: WireForm) -> str:
    """The whole HTTP request, with MARK in place of the call's number."""
    body = json.dumps(_call(form, target.member), separators=(",", ":")).replace(
        f'"{MARK}"', MARK
    )  # alone it stands for a number
    headers = {"Host": f"127.0.0.1:{target.port}", **_headers(target, form), "Content-Length": str(len(body))}
    if form.is_modern:
        headers |= {"Mcp-Method": "tools/call", "Mcp-Name": TOOL}
    lines = [f"POST {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines) + "\r\n\r\n" + body


def numbered(request: str, number: int) -> bytes:
    """The bytes of a template's call with this number, of six digits."""
    return request.replace(MARK, str(number)).encode()


def verify(target: Target, form: WireForm, item_of: Callable[[Any], Any] = lambda content: content) -> None:
    """Make one call and look at the answer. `item_of`: finds the item in structured content. Raises CannotMeasure,
    saying what is wrong with it."""
    number = NUMBER
    head, _, body = template(target, form).replace(MARK, str(number)).partition("\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    status, _, text = _post(target, headers, body)
    try:
        answer = json.loads(text)
        result = answer["result"]
        is_right = status == 200 and answer["id"] == number and not result.get("isError")
        found = [block["text"] for block in result["content"] if block["type"] == "text"]
        wanted = upstream.expected(number, f"lamp-{number}")
        is_right = is_right and item_of(result["structuredContent"]) == wanted
        is_right = is_right and any(item_of(json.loads(text)) == wanted for text in found)
    except (ValueError, KeyError, TypeError, AttributeError):
        is_right = False
    if not is_right:
        raise CannotMeasure(f"wrong answer to tools/call ({form.name}): HTTP {status}: {text[:600]}")


def open_session(target: Target, form: WireForm) -> str:
    """The legacy handshake; returns the session id, "" when the server keeps none."""
    params = {"protocolVersion": form.version, "capabilities": {}, "clientInfo": _CLIENT}
    body = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
    status, answered, text = _post(target, _headers(target, form), body)
    if status != 200:
        raise CannotMeasure(f"initialize was refused: HTTP {status}: {text[:600]}")
    session = answered.get("mcp-session-id", "")
    in_session = Target(target.port, target.path, target.token, session)
    _post(in_session, _headers(in_session, form), '{"jsonrpc":"2.0","method":"notifications/initialized"}')
    return session


def _call(form: WireForm, member: str) -> dict[str, Any]:
    item = {"id": MARK, "q": f"lamp-{MARK}"}
    params: dict[str, Any] = {"name": TOOL, "arguments": {member: item} if member else item}
    if form.is_modern:
        params["_meta"] = {
            f"{_META}protocolVersion": form.version,
            f"{_META}clientCapabilities": {},
            f"{_META}clientInfo": _CLIENT,
        }
    return {"jsonrpc": "2.0", "id": MARK, "method": "tools/call", "params": params}


def _headers(target: Target, form: WireForm) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": form.version,
    }
    if target.token:
        headers["Authorization"] = f"Bearer {target.token}"
    if target.session:
        headers["Mcp-Session-Id"] = target.session
    return headers


def _post(target: Target, headers: dict[str, str], body: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=10)
    try:
        connection.request("POST", target.path, body.encode(), headers)
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
        return response.status, {name.lower(): value for name, value in response.getheaders()}, text
    except (OSError, http.client.HTTPException) as error:
        raise CannotMeasure(f"no answer on port {target.port}: {error}") from error
    finally:
        connection.close()
