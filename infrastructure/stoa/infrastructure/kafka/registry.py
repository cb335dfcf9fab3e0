"""A schema registry with Confluent's HTTP API, as Karapace and Apicurio serve it too: schemas by subject and by id."""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import pydantic_core
from yarl import URL

from stoa.application.concurrency.bounded_cache import BoundedCache
from stoa.application.ports import CredentialSource
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import InvalidInput, Unavailable
from stoa.domain.operations.binding import SecretReference
from stoa.domain.schema.json_value import JsonObject, as_array, as_text, is_array, is_object
from stoa.infrastructure.http_client import HostResolver, OutboundRules
from stoa.infrastructure.http_client.client import HttpAnswer, HttpClient
from stoa.infrastructure.http_client.problems import connection_problem
from stoa.infrastructure.kafka.binding import MessagePart, Registry
from stoa.infrastructure.kafka.codec import PartReader, protobuf_module

TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_SCHEMA_CHARACTERS = 1024 * 1024
"""Upper bound for one schema with those that it refers to."""
MAX_REFERENCES = 50
MAX_NEW_SCHEMAS = 20
"""Schemas that one call asks the registry for."""
_REMEMBERED = 2000
_QUICKLY_READ_BYTES = 64 * 1024
_MAIN_FILE = "registered-schema.proto"


class RegisteredSchema(NamedTuple):
    """One version of a schema. `part.schema_id` is its id; `text` the schema as it is registered, of Protobuf its
    descriptors with their comments, in base64."""

    part: MessagePart
    text: str
    references: Mapping[str, str] = {}  # never changed
    """JSON: the schemas that it refers to, by the names that it has for them."""


class UnusableSchema(ValueError):
    """A schema of a kind, or with references, that cannot be used; the text says why."""


class SchemaRegistries:
    """Asks registries over the guarded HTTP client. What an id means never changes, so it is asked for once."""

    def __init__(self, credentials: CredentialSource, rules: OutboundRules, resolver: HostResolver | None) -> None:
        self._credentials = credentials
        self._http = HttpClient(rules, resolver, timeout_seconds=TIMEOUT_SECONDS, max_answer_bytes=MAX_ANSWER_BYTES)
        self._known: BoundedCache[tuple[Registry, TenantId | None, int], MessagePart | None] = BoundedCache(_REMEMBERED)

    async def latest(self, registry: Registry, tenant: TenantId | None, subject: str) -> RegisteredSchema | None:
        """The newest version of a subject; None if there is no such subject. Raises Unavailable, UnusableSchema."""
        path = f"subjects/{quote(subject, safe='')}/versions/latest"
        answer = await self._get(registry, tenant, path)
        if answer is None:
            return None
        return await self._schema(registry, tenant, answer, answer.get("id"))

    async def by_id(self, registry: Registry, tenant: TenantId | None, number: int) -> MessagePart | None:
        """How a record with this id in its frame is read; None if the registry has no such schema, or one that cannot
        be used. Raises Unavailable."""
        key = (registry, tenant, number)
        known = self._known.get(key)
        if known is not None:
            return known
        answer = await self._get(registry, tenant, f"schemas/ids/{number}")
        try:
            part = None if answer is None else (await self._schema(registry, tenant, answer, number)).part
        except UnusableSchema:
            part = None
        if part is not None:
            self._known.put(key, part)
        return part

    async def close(self) -> None:
        await self._http.close()

    async def _schema(
        self, registry: Registry, tenant: TenantId | None, answer: JsonObject, number: Any
    ) -> RegisteredSchema:
        kind, text = answer.get("schemaType", "AVRO"), as_text(answer.get("schema"))
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**31:
            raise UnusableSchema("the registry names no id for it")
        if kind not in {"AVRO", "JSON", "PROTOBUF"}:
            raise UnusableSchema(f"schemas of type {str(kind)[:20]} are not read; AVRO, JSON and PROTOBUF are")
        references = await self._references(registry, tenant, as_array(answer.get("references")))
        if len(text) + sum(map(len, references.values())) > MAX_SCHEMA_CHARACTERS:
            raise UnusableSchema(f"it is longer than {MAX_SCHEMA_CHARACTERS} characters")
        if kind == "JSON":
            return RegisteredSchema(MessagePart(format="json", schema_id=number), text, references)
        if kind == "PROTOBUF":
            return await _protobuf(text, references, number)
        types = {name: _parsed(reference) for name, reference in references.items()}
        whole = pydantic_core.to_json(_written_out(_parsed(text), types, set())).decode() if types else text
        return RegisteredSchema(MessagePart(format="avro", definition=whole, schema_id=number), whole)

    async def _references(self, registry: Registry, tenant: TenantId | None, given: Sequence[Any]) -> dict[str, str]:
        """The schemas that a schema refers to, and those that they refer to, by the names that they are referred to
        by. Raises Unavailable, UnusableSchema."""
        texts: dict[str, str] = {}
        waiting = [*given]
        while waiting:
            reference = waiting.pop()
            name = as_text(reference.get("name")) if is_object(reference) else ""
            if not name or name in texts:
                continue
            if len(texts) >= MAX_REFERENCES:
                raise UnusableSchema(f"it refers to more than {MAX_REFERENCES} other schemas")
            subject, version = quote(as_text(reference.get("subject")), safe=""), reference.get("version")
            answer = await self._get(registry, tenant, f"subjects/{subject}/versions/{int(version or 0)}")
            if answer is None:
                raise UnusableSchema(f"it refers to {name[:80]!r}, which the registry does not have")
            texts[name] = as_text(answer.get("schema"))
            if sum(map(len, texts.values())) > MAX_SCHEMA_CHARACTERS:
                raise UnusableSchema(
                    f"the schemas that it refers to are longer than {MAX_SCHEMA_CHARACTERS} characters"
                )
            waiting += as_array(answer.get("references"))
        return texts

    async def _get(self, registry: Registry, tenant: TenantId | None, path: str) -> JsonObject | None:
        headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
        if registry.secret is not None:
            both = SecretReference(name=registry.secret.name)
            user, password = (self._credentials.read(tenant, both, entry) for entry in ("username", "password"))
            headers["Authorization"] = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode('ascii')}"
        url = URL(f"{registry.url.rstrip('/')}/{path}", encoded=True)
        try:
            answer: HttpAnswer = await self._http.request("GET", url, headers=headers)
        except OSError as problem:
            reason = connection_problem(problem)
        else:
            is_large = len(answer.body) > _QUICKLY_READ_BYTES
            content = await asyncio.to_thread(answer.json) if is_large else answer.json()
            if answer.status == 404:
                return None
            if answer.status == 200 and content:
                return content
            reason = "it answers no schema" if answer.status == 200 else f"it answers {answer.status}"
        raise Unavailable(f"The schema registry at {registry.url} failed: {reason}")


async def learn(
    reader: PartReader,
    contents: Sequence[bytes | None],
    registries: SchemaRegistries,
    registry: Registry,
    tenant: TenantId | None,
) -> None:
    """Asks for the schemas that records name and that their reader does not know yet. Raises Unavailable."""
    numbers = {number for content in contents if (number := reader.unknown_schema(content)) is not None}
    for number in sorted(numbers)[:MAX_NEW_SCHEMAS]:
        await asyncio.to_thread(reader.learn, number, await registries.by_id(registry, tenant, number))


async def _protobuf(text: str, references: Mapping[str, str], number: int) -> RegisteredSchema:
    """A .proto file, compiled with those that it imports. Raises UnusableSchema."""
    try:
        from stoa.infrastructure.protobuf.protos import compiled  # for those who have such schemas

        files = {_MAIN_FILE: text, **references}
        descriptors = base64.b64encode(await compiled(_MAIN_FILE, files)).decode("ascii")
        part = protobuf_module().protobuf_part(descriptors, schema_id=number)
    except InvalidInput as problem:
        raise UnusableSchema(problem.message) from None
    return RegisteredSchema(part, descriptors)


def _parsed(text: str) -> Any:
    try:
        return pydantic_core.from_json(text)
    except ValueError:
        raise UnusableSchema("the registry's schema is no JSON") from None


def _written_out(schema: Any, types: dict[str, Any], used: set[str]) -> Any:
    if isinstance(schema, str) and schema in types and schema not in used:
        used.add(schema)
        return _written_out(types[schema], types, used)
    if is_array(schema):
        return [_written_out(entry, types, used) for entry in schema]
    if is_object(schema):
        places = ("type", "items", "values", "fields")
        return {key: _written_out(value, types, used) if key in places else value for key, value in schema.items()}
    return schema
