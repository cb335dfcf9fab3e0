"""The envelope of a stateless request (2026-07-28): the members of `_meta`, and the headers that must repeat them.

The order of the checks is visible to clients: envelope, then headers, then version.
"""

from typing import Any

from stoa.domain.schema.json_value import JsonObject, as_object
from stoa.interfaces.mcp.jsonrpc.messages import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    UNSUPPORTED_VERSION,
    Fault,
    Request,
    id_of,
)
from stoa.interfaces.mcp.wire.headers import Headers, decode_value, is_visible
from stoa.interfaces.wire.revisions import (
    CAPABILITIES_KEY,
    HANDSHAKE_REVISIONS,
    STATELESS_REVISIONS,
    VERSION_KEY,
    Revision,
)

_NAME_PARAMETER = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
"""Methods whose `Mcp-Name` repeats this member of params."""


def is_stateless(version_header: str | None, body: Any) -> bool:
    """True for a request of the stateless era. The era belongs to the request, not to the connection: a client may mix
    both."""
    if version_header is not None and version_header not in HANDSHAKE_REVISIONS:
        return True
    return names_revision(as_object(as_object(body).get("params")))


def names_revision(params: JsonObject) -> bool:
    """True if these params carry an envelope."""
    return VERSION_KEY in as_object(params.get("_meta"))


def check_known(version_header: str | None, body: Any) -> None:
    """Raises Fault with the supported revisions, for a request that names only an unknown one, in its header."""
    if version_header is None or version_header in STATELESS_REVISIONS or version_header in HANDSHAKE_REVISIONS:
        return
    if VERSION_KEY not in as_object(as_object(as_object(body).get("params")).get("_meta")):
        raise Fault(
            UNSUPPORTED_VERSION,
            "Unsupported protocol version in MCP-Protocol-Version",
            data={"supported": [*STATELESS_REVISIONS, *reversed(HANDSHAKE_REVISIONS)], "requested": version_header},
            request_id=id_of(body),
        )


def check_version(version_header: str | None) -> Revision:
    """The revision that the header names. Raises Fault."""
    revision = STATELESS_REVISIONS.get(version_header or "")
    if revision is None:
        raise unsupported(version_header or "")
    return revision


def check_envelope(request: Request, headers: Headers | None) -> Revision:
    """The revision to answer in. `headers`: None on a transport that has none (stdio). Raises Fault."""
    meta: Any = request.params.get("_meta")
    # Compared by class, which costs no call: JSON gives nothing derived from dict.
    version = meta.get(VERSION_KEY) if meta.__class__ is dict else None
    if not isinstance(version, str) or meta.get(CAPABILITIES_KEY).__class__ is not dict:
        raise Fault(
            INVALID_PARAMS,
            f"params._meta must have {VERSION_KEY} (string) and {CAPABILITIES_KEY} (object)",
            request_id=request.id,
        )
    if headers is not None and headers.matched != (version, request.method, request.params.get("name")):
        try:
            if headers.repeated or not _repeats(request, headers, version):
                _check_headers(request, headers, version)
            elif request.method == "tools/call":
                headers.matched = (version, "tools/call", request.params.get("name"))
        except Fault as fault:
            raise Fault(fault.code, fault.message, request_id=request.id) from fault
    revision = STATELESS_REVISIONS.get(version)
    if revision is None:
        raise unsupported(version, request)
    return revision


def _repeats(request: Request, headers: Headers, version: str) -> bool:
    """True if the headers plainly repeat the message, as nearly all do; `_check_headers` knows the rest."""
    method, get = request.method, headers.get
    if get(b"mcp-protocol-version") != version or get(b"mcp-method") != method:
        return False
    parameter = _NAME_PARAMETER.get(method)
    if parameter is None:
        return True
    name = get(b"mcp-name")
    return name is not None and name == request.params.get(parameter) and name[:1] != "=" and is_visible(name)


def _check_headers(request: Request, headers: Headers, version: str) -> None:
    if headers.repeated:
        raise Fault(HEADER_MISMATCH, "MCP-Protocol-Version, Mcp-Method and Mcp-Name may each stand there once")
    _match("MCP-Protocol-Version", headers.get(b"mcp-protocol-version"), version)
    _match("Mcp-Method", headers.get(b"mcp-method"), request.method)
    parameter = _NAME_PARAMETER.get(request.method)
    if parameter is not None:
        named = headers.get(b"mcp-name")
        _match("Mcp-Name", None if named is None else decode_value(named), request.params.get(parameter))


def _match(name: str, header: str | None, body: Any) -> None:
    if header is None:
        raise Fault(HEADER_MISMATCH, f"The header {name} is required")
    if header != body:
        raise Fault(HEADER_MISMATCH, f"The header {name} differs from the body")


def unsupported(version: str, request: Request | None = None) -> Fault:
    return Fault(
        UNSUPPORTED_VERSION,
        "Unsupported protocol version",
        data={"supported": list(STATELESS_REVISIONS), "requested": version},
        request_id=None if request is None else request.id,
    )
