"""Routes whose handlers take an HttpRequest and return an HttpAnswer.

Such a handler needs no web framework. The HTTP door calls it at once (`http.direct`), for a framework's cycle takes
longer than most calls do; for the rare rest, such as HEAD and OPTIONS, Quart calls the same handler.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qs

from quart import Blueprint, Response, request

from stoa.domain.access.identity import TenantId
from stoa.domain.calls.invocation import Caller, Credential
from stoa.domain.errors import IdentityUnavailable, NotAuthenticated
from stoa.interfaces.wire.bodies import AUTHENTICATED_KEY
from stoa.interfaces.wire.credentials import credential_of, tenant_of

JSON = "application/json"
_NO_FIELDS: Mapping[str, str] = MappingProxyType({})


class HttpAnswer(NamedTuple):
    """The answer to a request."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = _NO_FIELDS
    """Further header fields."""
    content_type: str = JSON


class HttpRequest:
    """A request as its ASGI scope has it."""

    __slots__ = ("_arguments", "scope")

    def __init__(self, scope: MutableMapping[str, Any]) -> None:
        self.scope = scope
        self._arguments: dict[str, list[str]] | None = None

    def header(self, name: bytes) -> str | None:
        """The first header field of this name in lower case."""
        for field_name, value in self.scope["headers"]:
            if field_name == name:
                text: str = value.decode("latin-1")
                return text
        return None

    def argument(self, name: str, default: str = "") -> str:
        """The first value of a member of the query."""
        values = self.arguments(name)
        return values[0] if values else default

    def arguments(self, name: str) -> list[str]:
        """All values of a member of the query. Bytes that are no UTF-8 stay percent-encoded."""
        if self._arguments is None:
            query: bytes = self.scope["query_string"]
            self._arguments = (
                parse_qs(query.decode(), keep_blank_values=True, errors="werkzeug.url_quote") if query else {}
            )
        return self._arguments.get(name, [])

    @property
    def tenant(self) -> TenantId | None:
        """The tenant that the query asks for."""
        return tenant_of(self.scope["query_string"])

    @property
    def header_credential(self) -> Credential:
        """The credential in the Authorization header, not verified."""
        return credential_of(self.header(b"authorization"))

    @property
    def credential(self) -> Credential:
        """The request's caller if it was authenticated before its body was read, else the credential to verify. Raises
        NotAuthenticated or IdentityUnavailable as that authentication did: no token is verified twice."""
        admission = self.scope.get(AUTHENTICATED_KEY)
        if isinstance(admission, (NotAuthenticated, IdentityUnavailable)):
            raise admission
        return admission if isinstance(admission, Caller) else self.header_credential


Handler = Callable[..., Awaitable[HttpAnswer]]
"""Answers an HttpRequest. The variable parts of the path are its further arguments, by name."""
H = TypeVar("H", bound=Handler)


class Endpoints(Blueprint):
    """A Quart blueprint that also keeps its handlers. `around` is called with a handler, the request and the variable
    parts of the path, and answers with the handler or instead of it."""

    def __init__(
        self,
        name: str,
        *,
        url_prefix: str | None = None,
        around: Callable[[Handler, HttpRequest, Mapping[str, str]], Awaitable[HttpAnswer]] | None = None,
    ) -> None:
        super().__init__(name, __name__, url_prefix=url_prefix)
        self.handlers: dict[str, Handler] = {}
        """Handlers by the names that the framework's routing has for them."""
        self._around = around

    def on(self, method: str, *rules: str) -> Callable[[H], H]:
        """Registers a handler for requests with this method to any of these paths."""

        def register(handler: H) -> H:
            def answer(http_request: HttpRequest, **parts: str) -> Awaitable[HttpAnswer]:
                if self._around is None:
                    return handler(http_request, **parts)
                return self._around(handler, http_request, parts)

            async def view(**parts: str) -> Response:
                return as_response(await answer(HttpRequest(request.scope), **parts))  # type: ignore[arg-type]  # hypercorn's name for the same shape

            endpoint = f"{handler.__name__}_{method}"
            self.handlers[f"{self.name}.{endpoint}"] = answer
            for rule in rules:
                self.add_url_rule(rule, endpoint, view, methods=[method])
            return handler

        return register


def as_response(answer: HttpAnswer) -> Response:
    """The framework's form of an answer."""
    return Response(answer.body, answer.status, dict(answer.headers), content_type=answer.content_type)
