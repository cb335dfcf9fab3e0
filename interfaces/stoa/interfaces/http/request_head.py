"""Faults of a request head that the parser accepts, but that another reader could understand in another way (RFC 9112
section 11.2, request smuggling)."""

from dataclasses import dataclass
from typing import Any

from stoa.interfaces.http.connections import Reason

_SINGLE = frozenset(
    {
        b"authorization", b"content-encoding", b"content-length", b"content-type", b"expect", b"host",
        b"last-event-id", b"mcp-session-id", b"origin", b"transfer-encoding",
    }
)  # fmt: skip
"""Fields that may occur once: of two, one reader would take the first and another the last. (The engine refuses
repeated routing headers of MCP, for which it has a JSON-RPC error.)"""
_HOP_BY_HOP = frozenset({b"upgrade", b"http2-settings"})

Fields = list[tuple[bytes, bytes]]
"""Header fields in their order; names in lower case."""


class Refused(Exception):
    """The request must not reach the application."""

    def __init__(self, status: int, message: str, reason: Reason = "framing") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason: Reason = reason


@dataclass(slots=True)
class RequestHead:
    """Request line and header fields as the parser gave them."""

    method: bytes
    version: str
    target: bytes
    fields: Fields
    by_name: dict[bytes, bytes]
    """The fields; of a repeated one the last."""
    expects_continue: bool
    """`Expect: 100-continue` (RFC 9110 section 10.1.1)."""
    is_short: bool | None = None
    """It goes the short way if its body came with it; None: not judged yet."""
    derived: Any = None
    """The parts that a door made of the head alone. A connection that sends an equal head gets them again
    (`repeated_head`)."""

    def fault(self) -> Refused | None:
        """The refusal of an ambiguous head; None if it is in order."""
        fields, names, version, target = self.fields, self.by_name, self.version, self.target
        if len(names) != len(fields):
            all_names = [name for name, _ in fields]
            repeated = next((name for name in _SINGLE if all_names.count(name) > 1), None)
            if repeated is not None:
                return Refused(400, f"The header {repeated.decode('latin-1')} stands there more than once")
        if version != "1.1" and version != "1.0":
            return Refused(505, "HTTP/1.1 is spoken here")
        if version == "1.1" and b"host" not in names:
            return Refused(400, "The header host is missing")
        if b"transfer-encoding" in names:
            coding = names[b"transfer-encoding"].strip().lower()
            if version == "1.0" or coding != b"chunked":
                return Refused(501, "A Transfer-Encoding other than chunked, or in HTTP/1.0, is not understood")
        if b"expect" in names and not self.expects_continue and version == "1.1":
            return Refused(417, "Expect: only 100-continue is understood")
        if target[:1] != b"/" or target[:2] == b"//" or b"#" in target:
            return _target_fault(target, names.get(b"host", b""))
        return None

    def path_and_query(self) -> tuple[bytes, bytes]:
        """Path and query of a target that has no fault."""
        target = self.target
        if target[:1] != b"/":  # absolute form
            authority_and_path = target.partition(b"://")[2]
            authority, slash, rest = authority_and_path.partition(b"/")
            if not slash:
                return b"/", authority.partition(b"?")[2]
            target = slash + rest
        path, _, query = target.partition(b"?")
        return path, query

    def without_upgrade(self) -> bytes:
        """The head without its offer to upgrade (RFC 9110 section 7.8), to be parsed again."""
        lines = [b"%b %b HTTP/%b" % (self.method, self.target, self.version.encode("ascii"))]
        for name, value in self.fields:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                value = b", ".join(token for token in tokens if token.lower() not in _HOP_BY_HOP)  # noqa: PLW2901
            if name not in _HOP_BY_HOP:
                lines.append(b"%b: %b" % (name, value))
        return b"\r\n".join([*lines, b"", b""])


def _target_fault(target: bytes, host: bytes) -> Refused | None:
    """The fault of a request target. Absolute form (RFC 9112 section 3.2.2) is accepted if it agrees with Host."""
    if target[:7].lower() == b"http://" or target[:8].lower() == b"https://":
        authority = target.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]
        if authority.lower() == host.strip().lower() and b"#" not in target:
            return None
        return Refused(400, "The request target and the header host differ")
    return Refused(400, "The request target must be a path")
