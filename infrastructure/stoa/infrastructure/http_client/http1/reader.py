"""Reads the responses of one connection, one at a time, without I/O: llhttp parses, strictly, and this module keeps the
bounds and decides where a response ends and whether the connection may carry another one. A response is handed over
whole, or, where it is streamed, after its head; its body is then taken piece by piece.

Ambiguous framing (RFC 9112 section 6.3) is refused: by llhttp a second length, a length beside chunks, a bare LF, a
folded line; here a coding other than `chunked`, another protocol version, and a switch of protocols. Bytes after the
response end the connection, because they would be taken for the response to the next request.
"""

import re
from typing import Final

import httptools

from stoa.infrastructure.http_client.failures import InvalidResponse, ResponseCutShort, ResponseTooLong
from stoa.infrastructure.http_client.http1.repeated_head import RepeatedHead
from stoa.infrastructure.http_client.http1.response import Response, StartOfResponse, text_of

MAX_HEAD_BYTES = 64 * 1024
"""Upper bound on status line and header fields, those of interim responses included."""
FRAMING_FACTOR: Final = 8
"""Upper bound on the bytes of a chunked body on the wire, as a multiple of what its content may have, or, if streamed,
has so far: a chunk of one byte takes six."""

_VERSIONS = frozenset({"1.1", "1.0"})
_OF_STREAM = re.compile(
    rb"[ \t]*(?:text/event-stream|application/(?:x-)?ndjson|application/(?:x-)?jsonl(?:ines)?|application/json-lines"
    rb"|application/stream\+json|application/(?:[a-z0-9.!#$&^_-]+\+)?json-seq)[ \t]*(?:;|\Z)",
    re.IGNORECASE,
)
"""Content types of bodies that may have no end: server-sent events, JSON lines, JSON text sequences (RFC 7464)."""


class _Refused(Exception):
    """Ends the parsing from within a callback of the parser, which keeps no exception."""


class ResponseReader:
    """`begin` before each request, then `feed` what arrives: it returns the response once it is complete, or, of a
    streamed one, once its head is; `take` then returns what has come of the body."""

    __slots__ = (
        "_body",
        "_head_room",
        "_headers",
        "_is_head_request",
        "_is_interim",
        "_is_used",
        "_limit",
        "_may_stream",
        "_parser",
        "_reason",
        "_refusal",
        "_repeated",
        "_response",
        "_wire_room",
        "has_begun",
        "is_complete",
        "is_reusable",
        "is_streamed",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._repeated: RepeatedHead | None = None
        self._is_head_request = False
        self._may_stream = self.is_streamed = False
        self._limit = 0
        self.is_reusable = True
        """False: no further request may be sent on the connection."""
        self.has_begun = False
        """True after the first byte of a response, interim ones included."""
        self.is_complete = False
        self._renew()

    def begin(self, *, is_head_request: bool, limit: int | None, may_stream: bool = False) -> None:
        """Expects a response whose body has at most `limit` bytes; None: it is streamed. `may_stream`: it is also
        streamed where it succeeds and its content type is that of a stream. `is_head_request`: it has no body (RFC 9110
        section 9.3.2)."""
        if self._is_head_request:  # the parser still waits for the body that the head described
            self._parser = httptools.HttpResponseParser(self)
        self._is_head_request = is_head_request
        self.is_streamed, self._may_stream = limit is None, may_stream and not is_head_request
        self._limit = limit or 0
        self.has_begun = self.is_complete = False
        if self._is_used:  # a response that was recognised leaves the parser's side as it was
            self._renew()

    def _renew(self) -> None:
        """Makes what the parser's side has gathered as it is before a response."""
        self._is_used = False
        self._head_room = self._wire_room = MAX_HEAD_BYTES
        self._headers: list[tuple[bytes, bytes]] = []
        self._reason = b""
        self._body: bytes | bytearray = b""
        self._response: Response | None = None
        self._refusal: InvalidResponse | None = None
        self._is_interim = False

    @property
    def has_head(self) -> bool:
        return self._response is not None

    @property
    def buffered_bytes(self) -> int:
        """Bytes of the body that were not taken."""
        return len(self._body)

    def take(self, most: int) -> bytes:
        """The next bytes of what has come of a streamed body, `most` at most."""
        body = self._body
        if len(body) <= most:
            self._body = b""
            return bytes(body)
        rest = self._body = body if isinstance(body, bytearray) else bytearray(body)
        piece = bytes(rest[:most])
        del rest[:most]
        return piece

    def feed(self, data: bytes) -> Response | None:
        """Returns the response once it is complete; a streamed one with each piece from its head on. Raises
        InvalidResponse."""
        is_first, self.has_begun = not self.has_begun, True
        if not is_first or self.is_streamed or self._is_head_request:
            return self._feed(data)
        repeated = self._repeated  # the head of the response before it
        response = None if repeated is None else repeated.match(data, self._limit)
        if response is not None:
            self.is_complete = True
            return response
        response = self._feed(data)
        if response is not None:
            has_content = self.is_reusable and response.body
            self._repeated = RepeatedHead.of(response, data) if has_content else None
        return response

    def _feed(self, data: bytes) -> Response | None:
        if self._response is None:
            if len(data) > self._head_room:
                return self._feed_long(data)
            self._head_room -= len(data)
            return self._parse(data)
        self._wire_room -= len(data)
        response = self._parse(data)
        if (
            self._wire_room + FRAMING_FACTOR * self._limit < 0
        ):  # asked after parsing: the content of a stream makes room for its own framing
            raise InvalidResponse("its framing is many times larger than its content")
        return response

    def end(self) -> Response:
        """The response that the end of the connection completes (RFC 9112 section 6.3, rule 8). Raises
        ResponseCutShort if it does not."""
        response, self.is_reusable = self._response, False
        if response is None or not self._is_delimited_by_close(response):
            raise ResponseCutShort("the connection ended within the response")
        self.is_complete = True
        if not self.is_streamed:
            response.body = bytes(self._body)
        return response

    def _feed_long(self, data: bytes) -> Response | None:
        """Handles more bytes than a head may have: within the bound the head must be complete."""
        room, self._head_room = self._head_room, 0
        response = self._parse(data[:room])
        if self._response is None:
            raise InvalidResponse("the head of its response is too large")
        if not self.is_complete:
            return self._feed(data[room:])
        self.is_reusable = False  # bytes that belong to no response
        return response

    def _parse(self, data: bytes) -> Response | None:
        self._is_used = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if self._refusal is not None:
                raise self._refusal from None
            if not self.is_complete:
                raise InvalidResponse("its response is not valid HTTP/1.1") from None
            self.is_reusable = False  # what follows a complete response is not read
        response = self._response
        if response is None or self.is_streamed:
            return response
        if not self.is_complete:
            return None
        response.body = bytes(self._body)
        return response

    def _is_delimited_by_close(self, response: Response) -> bool:
        return b"content-length" not in response.fields and b"transfer-encoding" not in response.fields

    def _refuse(self, refusal: InvalidResponse) -> None:
        self._refusal = refusal
        raise _Refused

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        if self.is_complete:
            self.is_reusable = False

    def on_status(self, text: bytes) -> None:
        if self._response is None:
            self._reason += text

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._response is None:  # else a trailer, which must not be taken for a header (RFC 9110 section 6.5.1)
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._response is not None:
            return
        parser, headers = self._parser, self._headers
        status = parser.get_status_code()
        if status < 200:
            if status < 100 or status == 101:  # no switch of protocols was asked for
                self._refuse(InvalidResponse(f"it answered with the status {status}"))
            self._is_interim = True
            return
        if parser.get_http_version() not in _VERSIONS:
            self._refuse(InvalidResponse("it answered in another version of HTTP"))
        fields = dict(reversed(headers))
        self.is_reusable = parser.should_keep_alive()
        if self._may_stream and status < 300 and _OF_STREAM.match(fields.get(b"content-type", b"")):
            self.is_streamed = True
        if b"transfer-encoding" in fields:
            self._check_coding(parser.get_http_version())
        elif not (self.is_streamed or self._may_stream) and int(fields.get(b"content-length", b"0")) > self._limit:
            self._check_length(status)  # who takes streams takes the start of what is too long
        self._response = Response(status, text_of(self._reason), headers, fields)
        self.is_complete = self._is_head_request

    def on_body(self, content: bytes) -> None:
        if self.is_complete:
            self.is_reusable = False
            return
        if self.is_streamed:
            self._wire_room += FRAMING_FACTOR * len(content)
        elif len(self._body) + len(content) > self._limit:
            self._refuse(self._too_long(content))
        if not self._body:
            self._body = content
        elif isinstance(self._body, bytearray):
            self._body += content
        else:
            self._body = bytearray(self._body) + content

    def on_message_complete(self) -> None:
        if self._is_interim:
            self._is_interim = False
            self._headers = []
            self._reason = b""
        else:
            self.is_complete = True

    def _too_long(self, content: bytes) -> ResponseTooLong:
        response, message = self._response, f"more than {self._limit} bytes"
        if response is None or not self._may_stream:
            return ResponseTooLong(message)
        response.body = (bytes(self._body) + content)[: self._limit]
        return StartOfResponse(message, response)

    def _check_coding(self, version: str) -> None:
        if [value.lower() for name, value in self._headers if name == b"transfer-encoding"] != [b"chunked"]:
            self._refuse(InvalidResponse("its response has a transfer coding that was not asked for"))
        if version != "1.1":  # it knows no chunks, so what stands between is not to be trusted (RFC 9112 section 6.1)
            self.is_reusable = False

    def _check_length(self, status: int) -> None:
        """Refuses a body that is too long as soon as its head says so. Some responses have none, whatever it says."""
        if not self._is_head_request and status not in {204, 304}:
            self._refuse(ResponseTooLong(f"more than {self._limit} bytes"))
