"""Builds the HTTP request of one GraphQL call (GraphQL over HTTP, sections 5.3 and 5.4). Values go as variables, never
into the text of the document; whatever can be is made once, at registration.
"""

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import pydantic_core
from yarl import URL

from stoa.application.ports import CredentialSource
from stoa.domain.errors import InvalidArguments, InvalidInput, Violation
from stoa.domain.operations.operation import Operation
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.graphql.binding import GraphQlBinding
from stoa.infrastructure.graphql.selectable import checked_selection
from stoa.infrastructure.graphql.written_document import operation_of
from stoa.infrastructure.http_client.authentication import compile_authentication, sent_secrets

ACCEPT = "application/graphql-response+json, application/json;q=0.9"
MAX_URL = 8000
"""Characters; a longer query is sent by POST, because servers and proxies cut or refuse such URLs."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TAKEN = frozenset({"accept", "content-type", "content-length", "host", "connection", "transfer-encoding"})


@dataclass(slots=True)
class GraphQlRequest:
    """`place` names its target without query, user or secret."""

    method: str
    url: URL
    place: str
    headers: dict[str, str]
    data: bytes | None


class RequestPlan:
    """The requests of one tool. Raises InvalidInput on construction when that cannot work."""

    def __init__(self, tool: Operation, binding: GraphQlBinding, credentials: CredentialSource) -> None:
        operation = operation_of(binding.document, binding.operation_name, f"Tool {tool.key}: binding.document")
        if operation.type != binding.operation:
            raise InvalidInput(f"Tool {tool.key}: its document is a {operation.type}, not a {binding.operation}")
        if binding.method == "GET" and binding.operation != "query":
            raise InvalidInput(f"Tool {tool.key}: only a query is sent by GET (GraphQL over HTTP, section 5.3)")
        for key in tool.authentication.entries:
            is_header = key.type == "apiKey" and key.location == "header"
            if is_header and (not _TOKEN.fullmatch(key.parameter_name) or key.parameter_name.lower() in _TAKEN):
                raise InvalidInput(f"Tool {tool.key}: authentication.parameter_name is not a header for a key")
        if binding.selection not in binding.document:
            raise InvalidInput(f"Tool {tool.key}: binding.selection is not part of its document")
        self._binding = binding
        self._authentication = tool.authentication
        self._sign = compile_authentication(tool, credentials)
        self._url = URL(binding.endpoint)
        self._place = binding.endpoint.partition("?")[0]
        self._persisted = binding.persisted
        # Where the selection stands; `document` is this, the selection, and what follows.
        self._head, _, self._tail = (
            binding.document.rpartition(binding.selection) if binding.selection else ("", "", "")
        )
        self._default = self._members(binding.document, is_known=binding.persisted != "none")
        self._whole = self._members(binding.document) if binding.persisted == "automatic" else self._default

    @property
    def url(self) -> URL:
        """URL of the endpoint."""
        return self._url

    @property
    def is_resent_when_unknown(self) -> bool:
        """The server may not know the document yet; `build` with `is_whole` gives the request that tells it."""
        return self._persisted == "automatic"

    def build(
        self, arguments: JsonObject, request_id: str, *, is_whole: bool = False, is_signed: bool = True
    ) -> GraphQlRequest:
        """Raises InvalidArguments for a value that cannot be sent, BackendUnavailable without a credential. Not signed:
        without the credential, to be shown."""
        variables, members = arguments, self._whole if is_whole else self._default
        name = self._binding.fields_argument
        if name is not None and name in arguments:
            variables = {key: value for key, value in arguments.items() if key != name}
            members = self._selected(arguments[name], name, is_whole=is_whole)
        try:
            encoded = pydantic_core.to_json(variables, inf_nan_mode="constants")
        except (UnicodeEncodeError, pydantic_core.PydanticSerializationError):
            raise InvalidArguments([Violation("", "valid Unicode")]) from None
        headers = {"Accept": ACCEPT, "X-Request-ID": request_id}
        request = self._get(members, encoded, headers) if self._binding.method == "GET" else None
        if request is None:
            headers["Content-Type"] = "application/json"
            data = b'{"variables":' + encoded + b"," + pydantic_core.to_json(members)[1:]
            request = GraphQlRequest("POST", self._url, self._place, headers, data)
        if self._sign and is_signed:
            request.url = self._sign(headers, request.url)
        return request

    def credentials_in(self, request: GraphQlRequest) -> dict[str, str]:
        """The headers of a signed request that hold its credential; empty where it has none, or in the URL."""
        names = {"Authorization", self._authentication.parameter_name} - {"Cookie"}
        return {name: request.headers[name] for name in names if name in request.headers}

    def secrets_in(self, request: GraphQlRequest) -> tuple[str, ...]:
        """The credential of a signed request, in each spelling that an answer may repeat."""
        return sent_secrets(self._authentication, request.headers, request.url)

    def _selected(self, selection: str, argument: str, *, is_whole: bool) -> dict[str, object]:
        selectable = self._binding.selectable
        if selectable is None:
            raise InvalidArguments([Violation(f"/{argument}", "nothing: this tool takes no selection")])
        text = checked_selection(selection, selectable, argument)
        return self._members(f"{self._head}{text}{self._tail}", is_known=self._persisted != "none" and not is_whole)

    def _members(self, document: str, *, is_known: bool = False) -> dict[str, object]:
        """Those of the request besides its variables. `is_known`: the server is expected to know the document."""
        binding = self._binding
        members: dict[str, object] = {} if is_known else {"query": document}
        if binding.operation_name is not None:
            members["operationName"] = binding.operation_name
        digest = hashlib.sha256(document.encode("utf-8", "replace")).hexdigest()
        if binding.persisted == "automatic":
            members["extensions"] = {"persistedQuery": {"version": 1, "sha256Hash": digest}}
        elif binding.persisted == "trusted":
            members["documentId"] = binding.document_id or f"sha256:{digest}"
        return members

    def _get(self, members: dict[str, object], variables: bytes, headers: dict[str, str]) -> GraphQlRequest | None:
        """None: the URL would be too long."""
        pairs = [(key, value if isinstance(value, str) else _text(value)) for key, value in members.items()]
        query = urlencode([*pairs, ("variables", variables.decode())], quote_via=quote)
        url = f"{self._binding.endpoint}{'&' if '?' in self._binding.endpoint else '?'}{query}"
        if len(url) > MAX_URL:
            return None
        # Apollo's servers take a GET for a form of another site unless it has a header that such a form cannot have.
        headers["Apollo-Require-Preflight"] = "1"
        return GraphQlRequest("GET", URL(url, encoded=True), self._place, headers, None)


def _text(value: object) -> str:
    return pydantic_core.to_json(value).decode()
