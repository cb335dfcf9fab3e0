"""ToolSets from GraphQL services: `spec.graphQL`."""

import re
from urllib.parse import urlsplit

import pydantic_core

from stoa.application.memory.bounded_executor import InThreadExecutor
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports import BoundedExecutor, CredentialSource, SpecConverter, SpecDocument, SpecKind, SpecPlace
from stoa.infrastructure.graphql.converter import GraphQlConverter
from stoa.infrastructure.graphql.introspection import introspected
from stoa.infrastructure.graphql.manifest import MEMBER, GraphQlSource
from stoa.infrastructure.graphql.schema_text import OperationFile, joined
from stoa.infrastructure.http_client import ANYWHERE, HostResolver, OutboundRules
from stoa.infrastructure.http_client.tls_secrets import TlsContexts

_SCHEME = re.compile(r"^graphql\+(?=https?://)")
_SDL = re.compile(r"^(?:extend\s+)?(?:(?:type|interface|input|enum)\s+[_A-Za-z]\w*|schema)\b[^:\n]*\{", re.MULTILINE)
_OPENAPI = re.compile(r"""^(openapi|swagger|asyncapi)\s*:|["'](openapi|swagger|asyncapi)["']\s*:""", re.MULTILINE)


class GraphQlSpecKind(SpecKind[GraphQlSource]):
    """Schemas as SDL or introspection JSON, in a file, at a URL, or asked of the service. `rules`: which addresses may
    be asked; `credentials`: for those that ask for proof; `executor`: reads large answers."""

    member = MEMBER
    manifest = GraphQlSource

    def __init__(
        self,
        credentials: CredentialSource | None = None,
        *,
        rules: OutboundRules = ANYWHERE,
        resolver: HostResolver | None = None,
        executor: BoundedExecutor | None = None,
    ) -> None:
        self._executor = executor or InThreadExecutor()
        self._credentials = credentials or InMemoryCredentialSource()
        self._rules = rules
        self._resolver = resolver

    def accepts(self, location: str, text: str | None) -> bool:
        """`graphql+https://host/path`, an http(s) URL whose path ends in /graphql, SDL, or introspection JSON."""
        if text is None:
            return _is_endpoint(location)
        if _OPENAPI.search(text):
            return False
        if text.lstrip("\ufeff \t\r\n")[:1] == "{":
            return '"__schema"' in text
        return _SDL.search(text) is not None

    def source_at(self, location: str) -> GraphQlSource:
        if _is_endpoint(location):
            return GraphQlSource(endpoint=_SCHEME.sub("", location))
        return GraphQlSource(url=location)

    async def fetch(self, source: GraphQlSource, place: SpecPlace) -> SpecDocument:
        schema = await self._schema(source, place)
        files = [await _operation_file(text, number, place) for number, text in enumerate(source.operations)]
        text = joined(schema.text, files)
        media_type = schema.media_type if not files else "text/plain"
        return SpecDocument(schema.location, text, media_type or "text/plain")

    def converter(self, source: GraphQlSource) -> SpecConverter:
        return GraphQlConverter(source)

    async def _schema(self, source: GraphQlSource, place: SpecPlace) -> SpecDocument:
        if source.url is not None:
            return await place.read(source.url)
        inline = source.inline
        if inline is not None:
            text = inline if isinstance(inline, str) else pydantic_core.to_json(inline).decode()
            return SpecDocument(f"{place.origin} spec.{MEMBER}.inline", text)
        return await introspected(
            source.endpoint or "",
            place,
            self._credentials,
            self._executor,
            tls=TlsContexts(self._credentials).of(place.tenant, source.tls.to_domain()),
            rules=self._rules,
            resolver=self._resolver,
        )


async def _operation_file(text: str, number: int, place: SpecPlace) -> OperationFile:
    if "{" in text:
        return OperationFile(f"{place.origin} spec.{MEMBER}.operations[{number}]", text)
    document = await place.read(text)
    return OperationFile(document.location, document.text)


def _is_endpoint(location: str) -> bool:
    if _SCHEME.match(location):
        return True
    parts = urlsplit(location)
    return parts.scheme in {"http", "https"} and parts.path.rstrip("/").endswith("/graphql")
