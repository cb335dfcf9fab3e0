"""Compiles a RestBinding, once at registration, into a plan that joins prepared pieces with encoded arguments for each
call.

A request cannot leave its base URL: host and base path are constants, an encoded value holds no `/`, `?` or `#`, and
neither a value nor the finished path holds a dot segment, however often a server decodes it. A binding that would
undermine this is refused here with InvalidInput.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, cast
from urllib.parse import quote, urlsplit

from yarl import URL

from stoa.application.ports import CredentialSource
from stoa.domain.errors import InvalidArguments, InvalidInput
from stoa.domain.operations.dot_segments import holds_dot_segment
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.tool import RestBinding, RestParameter
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.http_client.authentication import compile_authentication, sent_secrets
from stoa.infrastructure.http_client.header_text import Unsendable, header_text
from stoa.infrastructure.http_client.http1.pool import origin_of
from stoa.infrastructure.rest.body import BodyEncoder, compile_body
from stoa.infrastructure.rest.encoding import (
    NO_DOT_SEGMENT,
    NOT_UNICODE,
    Encoder,
    cookie_encoder,
    header_encoder,
    invalid_argument,
    path_encoder,
    query_encoder,
    whole_query_encoder,
)
from stoa.infrastructure.rest.files import TypedBytes

_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_IN_PATH = "/:@!$&'()*+,;=~%"
_PROTECTED = {
    *("connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer"),
    *("transfer-encoding", "upgrade", "authorization", "proxy-authorization"),
}
"""Headers that control the connection or the gateway's identity; no argument may set them."""
_SPELLINGS = {
    name.lower(): name
    for name in ("Accept", "Content-Type", "Cookie", "User-Agent", "X-Request-ID", "traceparent", "tracestate")
}
"""Headers that the gateway sets too: one spelling, so that one value replaces the other."""


@dataclass(slots=True)
class RestRequest:
    """One request, ready to be sent. `place` names its target without query, user or secret."""

    base: str
    """Scheme, host and port."""
    target: str
    """Path and query, encoded."""
    place: str
    headers: dict[str, str]
    data: bytes | None

    @property
    def url(self) -> URL:
        return URL(self.base + self.target, encoded=True)


class _Piece(NamedTuple):
    argument: str
    encode: Encoder
    name: str
    """The name on the wire."""


class RequestPlan:
    """Builds the requests of one tool. Raises InvalidInput on construction if that cannot work."""

    def __init__(self, tool: Operation, binding: RestBinding, credentials: CredentialSource) -> None:
        name = str(tool.key)
        self.method = binding.method
        self.base = _base_url(binding.base_url, name)
        self._taken = _check_names(tool, binding)
        self._taken_cookies = frozenset(_names_of_keys(tool, "cookie"))
        prefix, self._path = _compile_path(str(self.base).rstrip("/"), binding, name)
        length = _origin_length(prefix)
        self._origin_text, self._path_start = prefix[:length], prefix[length:]
        self._open_segment = prefix.rpartition("/")[2]
        """The start of the path segment that the first value completes."""
        self._fixed_query = "&".join(
            f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in binding.fixed_query
        )
        self._query = self._pieces(binding, "query")
        self._header_values = self._pieces(binding, "header")
        self._cookies = self._pieces(binding, "cookie")
        self._headers = {"Accept": _header_value(binding.accept, "binding.accept", name)}
        self._encode_body: BodyEncoder | None = None
        content_type = ""
        if binding.body is not None:
            self._encode_body, content_type = compile_body(
                binding.body, name, {bound.argument for bound in binding.parameters}
            )
        self._content_type = _header_value(content_type, "binding.body.media_type", name)
        self._sign = compile_authentication(tool, credentials)
        self._authentication = tool.authentication
        self._signs_target = bool(_names_of_keys(tool, "query"))
        self.origin = origin_of(self.base)

    def build(self, arguments: JsonObject, request_id: str, *, is_signed: bool = True) -> RestRequest:
        """Builds the request for these arguments. Raises InvalidArguments for a value that cannot be sent,
        BackendUnavailable without a credential. Not `is_signed`: without the credential, for display."""
        path = self._finished_path(arguments) if self._path else self._path_start
        query = _encoded(self._query, arguments) if self._query else []
        if self._fixed_query:
            query = [self._fixed_query, *query]
        target = f"{path}?{'&'.join(query)}" if query else path
        if target[:1] != "/":
            target = f"/{target}"
        headers = {**self._headers, "X-Request-ID": request_id}
        for piece in self._header_values:
            for text in _encoded((piece,), arguments):
                headers[piece.name] = text
        if self._cookies and (cookies := _encoded(self._cookies, arguments)):
            headers["Cookie"] = "; ".join(cookies)
        data = self._encode_body(arguments) if self._encode_body else None
        if data is not None:
            headers["Content-Type"] = self._content_type or cast("TypedBytes", data).media_type
        request = RestRequest(self._origin_text, target, self._origin_text + path, headers, data)
        if self._sign and is_signed:
            if self._signs_target:
                request.target = self._sign(headers, request.url).raw_path_qs
            else:
                self._sign(headers, self.base)  # cheaper than a URL for each call, and not changed by it
        return request

    def following(self, request: RestRequest, target: str) -> RestRequest:
        """A GET of another path of the same back end, with its query, after `request`: for what the answer named.
        Raises BackendUnavailable without a credential."""
        headers = {**self._headers, "X-Request-ID": request.headers["X-Request-ID"]}
        if self._authentication.type == "oauth2":
            headers["Authorization"] = request.headers["Authorization"]
        next_request = RestRequest(request.base, target, request.base + target.partition("?")[0], headers, None)
        if self._sign:
            next_request.target = self._sign(headers, next_request.url).raw_path_qs
        return next_request

    def _finished_path(self, arguments: JsonObject) -> str:
        """Joins the path and checks it as a whole: a value that is harmless alone may form a dot segment with the text
        or values around it."""
        texts = _encoded(self._path, arguments, is_demanded=True)
        values = "".join(texts)
        path = self._open_segment + values
        if holds_dot_segment(path):
            raise self._escaping(texts)
        return self._path_start + values

    def _escaping(self, texts: list[str]) -> InvalidArguments:
        """The error for a dot segment, which names the argument that completes it."""
        path = self._open_segment
        for piece, text in zip(self._path, texts, strict=True):
            path += text
            if holds_dot_segment(path):
                return invalid_argument(piece.argument, NO_DOT_SEGMENT)
        return invalid_argument(self._path[-1].argument, NO_DOT_SEGMENT)

    def secrets_in(self, request: RestRequest) -> tuple[str, ...]:
        """The credential of a signed request, in each form in which a response may repeat it."""
        return sent_secrets(self._authentication, request.headers, request.url)

    def _pieces(self, binding: RestBinding, location: str) -> list[_Piece]:
        encoder = {"query": self._query_encoder, "header": _header_encoder, "cookie": self._cookie_encoder}[location]
        return [
            _Piece(parameter.argument, encoder(parameter), _SPELLINGS.get(parameter.name.lower(), parameter.name))
            for parameter in binding.parameters
            if parameter.location == location
        ]

    def _query_encoder(self, parameter: RestParameter) -> Encoder:
        if not parameter.name:
            return whole_query_encoder(is_json=parameter.is_json)
        return query_encoder(
            parameter.name,
            parameter.style,
            explode=parameter.explode,
            allow_reserved=parameter.allow_reserved,
            is_json=parameter.is_json,
            taken=self._taken,
            is_required=parameter.required,
        )

    def _cookie_encoder(self, parameter: RestParameter) -> Encoder:
        return cookie_encoder(
            parameter.name,
            explode=parameter.explode,
            is_json=parameter.is_json,
            taken=self._taken_cookies,
            is_raw=parameter.allow_reserved,
        )


def is_below(path: str, base: str) -> bool:
    """True if the encoded `path` is the base path or below it under every normalisation."""
    base = base.rstrip("/")
    return (path == base or path.startswith(f"{base}/")) and not holds_dot_segment(path)


def _origin_length(url: str) -> int:
    """The length of scheme and authority at the start of a URL."""
    path = url.find("/", url.index("://") + 3)
    return len(url) if path < 0 else path


def _header_encoder(parameter: RestParameter) -> Encoder:
    return header_encoder(explode=parameter.explode, is_json=parameter.is_json)


def _encoded(pieces: Iterable[_Piece], arguments: JsonObject, *, is_demanded: bool = False) -> list[str]:
    """The text of each piece that has a value, in order."""
    texts: list[str] = []
    argument = ""
    try:
        for argument, encode, _ in pieces:
            value = arguments.get(argument)
            if value is None:
                if is_demanded:
                    raise Unsendable("a value, because it is part of the path")
            elif text := encode(value):
                texts.append(text)
    except Unsendable as error:
        raise invalid_argument(argument, str(error)) from None
    except NOT_UNICODE:
        raise invalid_argument(argument, "valid Unicode") from None
    return texts


def _header_value(text: str, field: str, tool: str) -> str:
    try:
        return header_text(text)
    except Unsendable:
        raise InvalidInput(f"Tool {tool}: {field} holds control characters") from None


def _base_url(text: str, tool: str) -> URL:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if not url.host or url.port is None:
        raise InvalidInput(f"Tool {tool}: binding.base_url is not an http(s) URL with a host")
    if url.raw_user is not None or url.raw_password is not None:
        raise InvalidInput(f"Tool {tool}: binding.base_url holds a user or password; use authentication with a secret")
    if holds_dot_segment(urlsplit(text).path):
        raise InvalidInput(f"Tool {tool}: binding.base_url holds a segment . or ..; write the path that is meant")
    return url


def _check_names(tool: Operation, binding: RestBinding) -> frozenset[str]:
    """Refuses parameters that could impersonate the gateway; returns the query names that arguments must not use."""
    header_keys, cookie_keys = _names_of_keys(tool, "header"), _names_of_keys(tool, "cookie")
    for location, keys in (("header", header_keys), ("cookie", cookie_keys)):
        if not all(_TOKEN.fullmatch(key) for key in keys):
            raise InvalidInput(f"Tool {tool.key}: authentication.parameter_name is not a {location} name")
    header_keys = {key.lower() for key in header_keys}
    taken = frozenset(_names_of_keys(tool, "query") | {name for name, _ in binding.fixed_query})
    has_cookies = bool(cookie_keys) or any(parameter.location == "cookie" for parameter in binding.parameters)
    for parameter in binding.parameters:
        name = parameter.name
        lower = name.lower()
        clash = {
            "path": False,
            "query": name in taken,
            "cookie": name in cookie_keys,
            "header": lower in _PROTECTED or lower in header_keys or (lower == "cookie" and has_cookies),
        }[parameter.location]
        if clash:
            raise InvalidInput(
                f"Tool {tool.key}: {parameter.location} parameter {name!r} is set by the gateway; remove it"
            )
        if parameter.location in {"header", "cookie"} and not _TOKEN.fullmatch(name):
            raise InvalidInput(f"Tool {tool.key}: {name!r} is not a valid {parameter.location} name")
    return taken


def _names_of_keys(tool: Operation, location: str) -> set[str]:
    """The names on the wire of the gateway's API keys in this part of the request."""
    return {
        entry.parameter_name
        for entry in tool.authentication.entries
        if entry.type == "apiKey" and entry.location == location
    }


def _compile_path(base: str, binding: RestBinding, tool: str) -> tuple[str, list[_Piece]]:
    """The path before the first placeholder, and the placeholders with the text that follows each."""
    template = binding.path.partition("#")[0]  # a fragment is never sent
    if "?" in template:
        raise InvalidInput(f"Tool {tool}: binding.path holds a query; move it to fixed_query")
    if holds_dot_segment(_PLACEHOLDER.sub("x", template)):
        raise InvalidInput(f"Tool {tool}: binding.path holds a segment . or ..; write the path that is meant")
    if template and not template.startswith("/"):
        template = f"/{template}"
    texts = _PLACEHOLDER.split(template)
    names, literals = texts[1::2], [_literal(text) for text in texts[0::2]]
    of_name = {parameter.name: parameter for parameter in binding.parameters if parameter.location == "path"}
    if unmatched := sorted(of_name.keys() ^ set(names)):
        raise InvalidInput(f"Tool {tool}: binding.path and its path parameters disagree about {', '.join(unmatched)}")
    pieces: list[_Piece] = []
    for name, literal in zip(names, literals[1:], strict=True):
        parameter = of_name[name]
        encode = path_encoder(name, parameter.style, explode=parameter.explode, is_json=parameter.is_json)
        pieces.append(_Piece(parameter.argument, _followed_by(encode, literal), name))
    return base + literals[0], pieces


def _followed_by(encode: Encoder, literal: str) -> Encoder:
    return lambda value: encode(value) + literal


def _literal(text: str) -> str:
    return quote(_LONE_PERCENT.sub("%25", text), safe=_IN_PATH)
