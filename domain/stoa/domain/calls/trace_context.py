"""W3C Trace Context: the distributed trace that a call belongs to, from `traceparent` and `tracestate`.

Values from callers are parsed strictly and bounded: only hexadecimal ids and a checked `tracestate` go on to back ends.
"""

import re
import secrets
from dataclasses import dataclass, field, replace
from typing import Any, Self

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
_KNOWN_FLAGS = 0x01
"""The `sampled` flag; other bits have no meaning in version 00 and are not passed on (section 3.2.2.5)."""
_MAX_TRACEPARENT = 256
_MAX_STATE = 512
"""Upper bound on the characters of a `tracestate` that is passed on (section 3.3.1.5); a longer one is dropped."""
_MAX_MEMBERS = 32
_KEY = r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_MEMBER = re.compile(rf"{_KEY}=[ !-+\--<>-~]{{0,255}}[!-+\--<>-~]")


@dataclass(frozen=True, slots=True)
class TraceContext:
    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits: the span that calls, `parent-id` on the wire."""
    is_sampled: bool = False
    state: str = field(default="", repr=False)
    """The `tracestate` to pass on; empty for none."""

    @classmethod
    def parse(cls, traceparent: Any, tracestate: Any = None) -> Self | None:
        """The trace context of these headers; None if `traceparent` is absent or invalid, because a caller's trace
        never fails a call. An invalid `tracestate` is left out (section 4.3)."""
        if not isinstance(traceparent, str) or len(traceparent) > _MAX_TRACEPARENT:
            return None
        read = _TRACEPARENT.fullmatch(traceparent)
        if read is None:
            return None
        version, trace_id, span_id, flags, rest = read.groups()
        if (
            version == "ff"
            or (version == "00" and rest is not None)
            or not (trace_id.strip("0") and span_id.strip("0"))
        ):
            return None
        return cls(trace_id, span_id, bool(int(flags, 16) & _KNOWN_FLAGS), _state(tracestate))

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.is_sampled else '00'}"

    def child(self) -> Self:
        """The same trace, called from a new span."""
        return replace(self, span_id=secrets.token_hex(8))


def _state(tracestate: Any) -> str:
    if not isinstance(tracestate, str) or len(tracestate) > _MAX_STATE:
        return ""
    members = [member for member in (part.strip(" \t") for part in tracestate.split(",")) if member]
    keys = {member.partition("=")[0] for member in members}
    is_valid = len(keys) == len(members) <= _MAX_MEMBERS and all(map(_MEMBER.fullmatch, members))
    return ",".join(members) if is_valid else ""
