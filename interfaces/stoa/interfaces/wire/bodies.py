"""Reads request bodies within bounds: on the size of one, and on the bytes held by a caller, by a tenant and in total.

A body is read only after its caller was authenticated from the headers. One that came whole with its head and is small
counts against nothing: the server read it anyway.
"""

import asyncio
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterable, MutableMapping
from typing import Any

from stoa.domain.access.identity import Principal
from stoa.domain.errors import BodiesFull, BodyTooLarge, InvalidInput, QuotaExceeded, StoaError, UnsupportedCoding

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_LIMIT = 4 * 1024 * 1024
SMALL_BYTES = 64 * 1024
STRANGERS_BYTES = 16 * 1024
"""Upper bound on a body that is read although its sender is refused: an ordinary batch, so that its messages are
counted."""
CALLER_KEY = "stoa.caller"
"""Key in a request's scope: (tenant, authorization key) that unread bytes of its answer count against."""
_TOTAL_BYTES = 64 * 1024 * 1024
_TENANT_BYTES = _TOTAL_BYTES // 2
_CALLER_BYTES = _TOTAL_BYTES // 4
_RETRY_SECONDS = 1.0
_CODINGS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""Content codings (RFC 9110 section 8.4.1), as zlib numbers them."""
CODINGS = b"gzip, deflate"
"""The supported codings, as the value of Accept-Encoding."""
_PIECE_BYTES = 256 * 1024


Body = bytes | bytearray
"""A request's body."""

AUTHENTICATED_KEY = "stoa.authenticated"
"""Key in a request's scope: its Caller, or the StoaError that refused it, if known before the door."""
BODY_KEY = "stoa.body"
"""Key in a request's scope: the Body that was read before the web framework, which would copy it twice."""
REFUSED_KEY = "stoa.body_refused"
"""Key in a request's scope: the StoaError with the reason why an authenticated request has no body."""


class BodyIncomplete(Exception):
    """The client disconnected before its body was complete, so no answer can be sent."""


class Bodies:
    """Reads bodies, and counts the bytes held until each `Share` is released."""

    def __init__(self, total: int = _TOTAL_BYTES, tenant: int = _TENANT_BYTES, caller: int = _CALLER_BYTES) -> None:
        self._total = total
        self._tenant = tenant
        self._caller = caller
        self._held: Counter[Hashable] = Counter()

    @property
    def held_bytes(self) -> int:
        return self._held[None]

    def take(self, caller: Principal, size: int) -> None:
        """Raises QuotaExceeded when the caller or its tenant holds too much, BodiesFull when all together do."""
        held = self._held
        of_tenant, of_caller = ("tenant", caller.tenant), ("caller", caller.authorization_key)
        if held[of_caller] + size > self._caller or held[of_tenant] + size > self._tenant:
            raise QuotaExceeded("bytes of requests at the same time", _RETRY_SECONDS)
        if held[None] + size > self._total:
            raise BodiesFull
        for key in (None, of_tenant, of_caller):
            held[key] += size

    def give_back(self, caller: Principal, size: int) -> None:
        for key in (None, ("tenant", caller.tenant), ("caller", caller.authorization_key)):
            self._held[key] -= size
            if self._held[key] <= 0:
                del self._held[key]


class Share:
    """The bytes that one request holds."""

    __slots__ = ("_bodies", "_caller", "size")

    def __init__(self, bodies: Bodies, caller: Principal) -> None:
        self._bodies = bodies
        self._caller = caller
        self.size = 0
        """Size in bytes."""

    async def read_coded(self, declared: int | None, receive: Receive, coding: str) -> Body:
        """Reads a body like `read` and undoes its Content-Encoding.

        Raises UnsupportedCoding before anything is read, and InvalidInput if the body does not match its coding."""
        name = coding.strip().lower()
        form = _CODINGS.get(name)
        if form is not None:
            return await self._inflate(await self.read(declared, receive), form, name)
        if name in {"", "identity"}:
            return await self.read(declared, receive)
        raise UnsupportedCoding

    async def _inflate(self, body: Body, form: int, name: str) -> bytes:
        """Decompresses piece by piece, so that no more than the bound is held and other requests get their turn."""
        inflating, chunks, size = zlib.decompressobj(form), list[bytes](), 0
        rest: Body = body
        while not inflating.eof:
            try:
                piece = inflating.decompress(rest, _PIECE_BYTES)
            except zlib.error as caught:
                raise InvalidInput(f"The body is not {name}, as its Content-Encoding says") from caught
            rest = inflating.unconsumed_tail
            if not (piece or rest):
                break  # cut off
            chunks.append(piece)
            size += len(piece)
            if size > BODY_LIMIT:
                raise BodyTooLarge(BODY_LIMIT)
            if size > SMALL_BYTES:
                self._grow(len(body) + size)
            if not inflating.eof:
                await asyncio.sleep(0)
        if not inflating.eof or inflating.unused_data:
            raise InvalidInput(f"The body is not {name} from its beginning to its end")
        return b"".join(chunks)

    async def read(self, declared: int | None, receive: Receive) -> Body:
        """Reads the whole body. `declared`: its Content-Length; None if it is chunked. One of several parts grows in
        place: the system hands out memory slowly, and to join 2 MiB at the end would keep the event loop for 5 ms.

        Raises BodyTooLarge, QuotaExceeded, BodiesFull or BodyIncomplete."""
        if declared is not None and declared > BODY_LIMIT:
            raise BodyTooLarge(BODY_LIMIT)
        if declared is not None and declared > SMALL_BYTES:
            self._grow(declared)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BodyIncomplete
        body: Body = message.get("body", b"")
        if not message.get("more_body"):
            if len(body) > BODY_LIMIT:
                raise BodyTooLarge(BODY_LIMIT)
            if len(body) > SMALL_BYTES:
                self._grow(len(body))
            return body
        self._grow(len(body) if declared is None else declared)
        body = bytearray(body)
        while message.get("more_body"):
            message = await receive()
            body += _part(message)
            if len(body) > BODY_LIMIT:
                raise BodyTooLarge(BODY_LIMIT)
            self._grow(len(body))
        return body

    def _grow(self, size: int) -> None:
        if size > self.size:
            self._bodies.take(self._caller, size - self.size)
            self.size = size

    def release(self) -> None:
        if self.size:
            self._bodies.give_back(self._caller, self.size)
            self.size = 0


def declared_length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """The length of the body that a request's headers declare: 0 without a body, None if it is chunked."""
    length = 0
    for name, value in headers:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            length = as_length(value.decode("latin-1"))
    return length


def as_length(value: str) -> int:
    """Parses a Content-Length; one with absurdly many digits becomes the least value that is too large."""
    value = value.strip()
    if not (value.isascii() and value.isdecimal()):
        return 0
    return int(value) if len(value) <= 10 else BODY_LIMIT + 1


def _part(message: MutableMapping[str, Any]) -> bytes:
    if message["type"] == "http.disconnect":
        raise BodyIncomplete
    body: bytes = message.get("body", b"")
    return body


async def read_small(declared: int | None, receive: Receive) -> bytes | None:
    """Reads a body of at most STRANGERS_BYTES; None: it is or may be larger, and was not read."""
    if declared is not None and declared > STRANGERS_BYTES:
        return None
    message = await receive()
    body: bytes = message.get("body", b"")
    if declared is None and message.get("more_body"):
        return None
    while message.get("more_body") and len(body) <= STRANGERS_BYTES:
        message = await receive()
        body += message.get("body", b"")
    return body if len(body) <= STRANGERS_BYTES else None


def closing(send: Send) -> Send:
    """Wraps `send` to tell the client to use another connection for its next request."""

    async def send_closing(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    return send_closing


Admission = Principal | StoaError
"""The caller, or the reason of its refusal, from the headers alone."""
