"""Asks a GraphQL service for its schema (GraphQL, section 4.2), with the credentials of the ToolSet's tools."""

import asyncio
import ssl
from collections.abc import Iterator
from typing import Any

import pydantic_core
from yarl import URL

from stoa.application.ports import BoundedExecutor, CredentialSource, SpecCredential, SpecDocument, SpecPlace
from stoa.domain.errors import BackendProtocolError, InvalidInput, Unavailable
from stoa.domain.schema.json_value import JsonObject, as_object, is_array, is_object
from stoa.infrastructure.graphql.request import ACCEPT
from stoa.infrastructure.graphql.schema_text import MAX_BYTES, graphql
from stoa.infrastructure.http_client import HostResolver, OutboundRules
from stoa.infrastructure.http_client.backend_answers import HEADERS, unpacked
from stoa.infrastructure.http_client.failures import ResponseTooLong
from stoa.infrastructure.http_client.http1 import Http1Client
from stoa.infrastructure.http_client.http1.pool import origin_of
from stoa.infrastructure.http_client.problems import connection_problem
from stoa.infrastructure.http_client.spec_authentication import NO_CALLER, sign_of

TIMEOUT_SECONDS = 30.0
QUICKLY_READ_BYTES = 64 * 1024

_SINCE_2021: dict[str, bool] = {"specified_by_url": True, "input_value_deprecation": True}
_ASKED: tuple[dict[str, bool], ...] = ({**_SINCE_2021, "one_of": True}, _SINCE_2021, {})
"""Features asked for in addition to the specification of 2018, one after the other until the server knows all. A server
that is not asked for deprecated arguments does not tell them."""


class _AccessDenied(Exception):
    """The service wants another credential, or one at all; the text says so to people."""


async def introspected(
    endpoint: str,
    place: SpecPlace,
    credentials: CredentialSource,
    executor: BoundedExecutor,
    *,
    tls: ssl.SSLContext,
    rules: OutboundRules,
    resolver: HostResolver | None,
) -> SpecDocument:
    """The introspection result, its types in the order of their names. Raises InvalidInput, or Unavailable when the
    service cannot answer now."""
    where = endpoint.partition("?")[0]
    if place.authentication.type == "oauth2" and place.access is None:
        raise InvalidInput(f"{where}: {NO_CALLER} (spec.graphQL.url)")
    library = await asyncio.to_thread(graphql)  # the first time it is imported, for a tenth of a second
    client = Http1Client(rules, resolver, tls=tls, headers=HEADERS)
    try:
        for options in _ASKED:
            query = str(library.get_introspection_query(**options))
            async with asyncio.timeout(TIMEOUT_SECONDS):
                try:
                    answer = await _asked(client, endpoint, place, credentials, query)
                except _AccessDenied:
                    if place.access is None or not place.access.refused(await place.access.token()):
                        raise
                    answer = await _asked(client, endpoint, place, credentials, query)
            # Parsing megabytes holds the interpreter, whichever thread does it.
            written = await executor.run(_written, answer) if len(answer) > QUICKLY_READ_BYTES else _written(answer)
            for text in written:
                return SpecDocument(where, text, "application/json")
    except _AccessDenied as refused:
        raise InvalidInput(str(refused)) from None
    except TimeoutError as caught:
        raise Unavailable(f"{where}: no complete answer within {TIMEOUT_SECONDS:g} s") from caught
    finally:
        await client.close()
    raise InvalidInput(f"{where}: the service does not tell its schema (introspection is off?); give spec.graphQL.url")


async def _asked(
    client: Http1Client,
    endpoint: str,
    place: SpecPlace,
    credentials: CredentialSource,
    query: str,
) -> bytes:
    where = endpoint.partition("?")[0]
    headers, url = {"Accept": ACCEPT, "Content-Type": "application/json"}, URL(endpoint)
    if place.authentication.type != "none":
        credential = SpecCredential(place.authentication, place.tenant, place.access)
        url = (await sign_of(credential, endpoint, credentials))(headers, url)
    body = pydantic_core.to_json({"query": query})
    try:
        response = await client.request(origin_of(url), "POST", url.raw_path_qs, headers, body, MAX_BYTES)
        if response.status >= 500 or response.status in {408, 425, 429}:
            raise Unavailable(f"{where}: the server answered {response.status}")
        if response.status in {401, 403}:
            remedy = "; set toolDefaults.authentication"
            if place.authentication.type != "none":
                remedy = " to the credential of the tools"
            raise _AccessDenied(f"{where}: the server answered {response.status}{remedy}")
        answer = response.body
        if encoding := response.header("Content-Encoding"):
            answer = await unpacked(answer, encoding, "introspection", MAX_BYTES)
    except (ResponseTooLong, BackendProtocolError):
        raise InvalidInput(f"{where}: its schema is larger than {MAX_BYTES} bytes, or wrongly encoded") from None
    except OSError as caught:
        raise Unavailable(f"{where}: it cannot be asked for its schema: {connection_problem(caught)}") from None
    return answer


def _written(answer: bytes) -> Iterator[str]:
    """The introspection result in an order that does not depend on the server; nothing if it answered with errors."""
    try:
        data = as_object(as_object(pydantic_core.from_json(answer)).get("data"))
    except ValueError:
        return
    if is_object(data.get("__schema")):
        yield pydantic_core.to_json({"data": _ordered(data)}).decode()


def _ordered(data: JsonObject) -> JsonObject:
    """Servers may list types in another order at each start; the order of fields is their author's."""
    schema = data["__schema"]
    types = schema.get("types")
    if not is_array(types):
        return data
    ordered: list[Any] = sorted(types, key=lambda type_: str(as_object(type_).get("name")))
    return {"__schema": {**schema, "types": ordered}}
