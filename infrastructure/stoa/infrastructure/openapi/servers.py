"""Finds the base URL of an operation: servers of operation, path and document, variables, relative URLs, and 2.0's
host."""

import re
from urllib.parse import urljoin, urlsplit

from stoa.domain.operations.binding import origin_of
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, as_text, is_object, texts_in
from stoa.infrastructure.openapi.document import ApiDocument

_VARIABLE = re.compile(r"\{([^{}]*)\}")
_USABLE = re.compile(r"^https?://[A-Za-z0-9._~:\[\]%-]+(?:/[^\s?#{}\\]*)?\Z")


class Servers:
    """Resolves base URLs. `replacement` (a ToolSet's baseURL) replaces every server in the document, path included."""

    def __init__(self, document: ApiDocument, replacement: str | None) -> None:
        self._document = document
        self.assumed: set[str] = set()
        """Relative URLs of operations that were taken to be on the host of the document's own server."""
        self._replacement = _usable(replacement) if replacement else None
        has_host = bool(as_text(document.root.get("host"))) and not as_array(document.root.get("servers"))
        self._of_document = self._swagger_base() if document.is_swagger or has_host else self._first(document.root)

    def base_url(self, path_item: JsonObject, operation: JsonObject) -> str | None:
        """The base URL of an operation, without a trailing slash; None if no usable server is given."""
        if self._replacement is not None:
            return self._replacement
        if self._document.is_swagger:
            return self._of_document
        for level in (operation, path_item):
            if as_array(level.get("servers")):
                return self._first(level) or self._beside_the_document(level)
        return self._of_document

    def foreign_origin(self, base_url: str) -> str | None:
        """The origin of `base_url` if a remote description chose it and it differs from the description's own origin;
        else None."""
        if self._replacement is not None or not self._origin():
            return None
        origin = origin_of(base_url)
        return None if origin == origin_of(self._origin()) else origin

    def _first(self, level: JsonObject) -> str | None:
        """The first usable server; without any, OpenAPI means `/` on the host the document came from."""
        servers = [server for server in as_array(level.get("servers")) if is_object(server)]
        for server in servers or [{"url": "/"}]:
            url = _filled(as_text(server.get("url")), as_object(server.get("variables")))
            base = _usable(urljoin(self._origin(), url) if self._origin() else url)
            if base is not None:
                return base
        return None

    def _beside_the_document(self, level: JsonObject) -> str | None:
        """The first server of an operation with a relative URL, on the host of the document's own server: a file has no
        address that it could be relative to."""
        first = as_object(next(iter(as_array(level.get("servers"))), None))
        url = _filled(as_text(first.get("url")), as_object(first.get("variables")))
        if self._of_document is None or not url or urlsplit(url).scheme or url.startswith("//"):
            return None
        self.assumed.add(url)
        return _usable(urljoin(self._of_document, url))

    def _swagger_base(self) -> str | None:
        root = self._document.root
        origin = urlsplit(self._origin())
        host = as_text(root.get("host")) or origin.netloc
        schemes = [scheme for scheme in texts_in(root.get("schemes")) if scheme in {"https", "http"}]
        scheme = "https" if "https" in schemes else next(iter(schemes), origin.scheme or "https")
        path = as_text(root.get("basePath")).strip("/")
        return _usable(f"{scheme}://{host}/{path}") if host else None

    def _origin(self) -> str:
        location = self._document.location
        return location if location.lower().startswith(("http://", "https://")) else ""


def _filled(url: str, variables: JsonObject) -> str:
    def value(match: re.Match[str]) -> str:
        variable = as_object(variables.get(match[1]))
        default = variable.get("default", next(iter(as_array(variable.get("enum"))), None))
        return match[0] if default is None or isinstance(default, dict | list) else str(default)

    return _VARIABLE.sub(value, url)


def _usable(url: str) -> str | None:
    base = re.split(r"[?#]", url.strip(), maxsplit=1)[0].rstrip("/")
    return base if _USABLE.match(base) else None
