"""Descriptions to tools: AsyncAPI documents, and what a live cluster and its schema registry said.

A live cluster is described by a JSON object: `kafka` has `bootstrapServers` and `topics`, each with `name`, and `value`
and `key` as MessageParts with `schema`, the schema's text, where the registry knows them.
"""

from typing import Any

import jsonschema_rs
import pydantic
import pydantic_core

from stoa.application.ports import Conversion, ConversionOptions, SpecConverter, SpecDocument
from stoa.domain.errors import InvalidInput
from stoa.domain.finding import Finding, error, warning
from stoa.domain.operations.naming import tool_name, unique
from stoa.domain.operations.tool import ApiReference, Tool
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, as_text, is_object
from stoa.infrastructure.kafka.asyncapi import AsyncApiDocument, Server
from stoa.infrastructure.kafka.binding import Action, KafkaBinding, MessagePart, Security, parameters_of
from stoa.infrastructure.kafka.codec import schema_of
from stoa.infrastructure.kafka.drafts import CannotConvert, Draft, DraftMaker, first_problem, joined
from stoa.infrastructure.kafka.manifest import KafkaManifest, KafkaSource
from stoa.infrastructure.kafka.tool_schemas import (
    ANY_HEADERS,
    PARAMETER_PATTERN,
    PartSchema,
    read_arguments,
    receipt_schema,
    records_schema,
    reply_schema,
    write_arguments,
)

DESCRIPTION_LIMIT = 1024
_VERBS: dict[Action, str] = {
    "produce": "Produces a record to",
    "read": "Reads records of",
    "request": "Sends a request and waits for its reply on",
}


class KafkaConverter(SpecConverter):
    """`source`: how the cluster is reached, and what of the description is wanted."""

    def __init__(self, source: KafkaSource) -> None:
        self._source = source

    def convert(self, document: SpecDocument, options: ConversionOptions) -> Conversion:
        return _Conversion(self._source, options, document).run()


class _Conversion:
    def __init__(self, source: KafkaSource, options: ConversionOptions, document: SpecDocument) -> None:
        self._source = source
        self._options = options
        self._location = document.location
        self._findings: list[Finding] = []
        live = _live(document.text)
        self._document = None if live is not None else AsyncApiDocument(document.text, document.location)
        self._live: JsonObject = live or {}

    def run(self) -> Conversion:
        server = self._server()
        maker = DraftMaker(self._document, self._live, self._source, self._location, self._findings)
        drafts = [draft for draft in maker.drafts(server) if self._is_wanted(draft)]
        options = self._options
        every = {draft.id for draft in drafts}
        for missing in sorted(options.operation_ids - every):
            self._warn("", f"no operation has the id {missing!r} (selector.operationIds)")
        if drafts and not server.bootstrap_servers:
            reason = server.problem or "no Kafka server is given; set spec.kafka.bootstrapServers"
            return Conversion(
                (), (*self._findings, error(self._location, f"{len(drafts)} tools are left out: {reason}"))
            )
        if drafts and self._is_withheld(server):
            origins = frozenset(f"kafka://{address}" for address in server.bootstrap_servers)
            message = (
                f"{len(drafts)} tools are left out: the description would have the credential sent to "
                f"{', '.join(sorted(origins)[:3])}; set spec.kafka.bootstrapServers if that is meant"
            )
            return Conversion((), (*self._findings, error(self._location, message)), origins)
        wishes = [tool_name(self._name(draft), options.name_prefix, options.name_suffix) for draft in drafts]
        tools: list[Tool] = []
        for draft, name, wish in zip(drafts, unique(wishes), wishes, strict=True):
            if name != wish:
                self._warn(draft.id, f"the name {wish!r} is taken; this one is {name!r}")
            try:
                tools.append(self._tool(draft, name, server))
            except (pydantic.ValidationError, jsonschema_rs.ValidationError, ValueError) as problem:
                self._error(draft.id, f"left out: {_reason(problem, draft)}")
        return Conversion(tuple(tools), tuple(self._findings))

    def _server(self) -> Server:
        """Where the tools go, by the manifest before the description."""
        source, options = self._source, self._options
        named = Server("", (), Security())
        if self._document is not None:
            servers = [*self._document.servers()]
            wanted = [server for server in servers if source.server in {None, server.name}]
            usable = [server for server in wanted if not server.problem]
            if source.server is not None and not wanted:
                self._warn("", f"there is no Kafka server {source.server!r} (spec.kafka.server)")
            if usable:
                named = usable[0]
            elif wanted:
                named = Server(wanted[0].name, (), Security(), f"server {wanted[0].name}: {wanted[0].problem}")
        else:
            given = as_array(self._live.get("bootstrapServers"))
            named = Server("", tuple(map(str, given)), Security())
        addresses = source.bootstrap_servers or named.bootstrap_servers
        if options.base_url is not None:
            authority = options.base_url.partition("://")[2].partition("/")[0]
            addresses = (authority if authority.rpartition(":")[2].isdigit() else f"{authority}:9092",)
        return named._replace(bootstrap_servers=addresses, security=source.security(named.security))

    def _is_withheld(self, server: Server) -> bool:
        """True where a fetched description would choose who gets the credential."""
        is_chosen = bool(self._source.bootstrap_servers or self._options.base_url) or not server.bootstrap_servers
        has_credential = self._options.authentication.type != "none"
        is_fetched = self._location.lower().startswith(("http://", "https://"))
        return has_credential and is_fetched and not is_chosen

    def _is_wanted(self, draft: Draft) -> bool:
        options = self._options
        tags = {*draft.tags, draft.channel}
        return (
            (not options.include_tags or not tags.isdisjoint(options.include_tags))
            and tags.isdisjoint(options.exclude_tags)
            and draft.topic.startswith(options.path_prefix)
            and (not options.methods or draft.action.upper() in options.methods)
            and (not options.operation_ids or draft.id in options.operation_ids)
            and (not self._source.topics or draft.topic in self._source.topics)
        )

    def _name(self, draft: Draft) -> str:
        return f"{draft.action}_{draft.channel if self._options.use_operation_id else draft.topic}{draft.suffix}"

    def _tool(self, draft: Draft, name: str, server: Server) -> Tool:
        if not draft.topic:
            raise CannotConvert("its channel has no address")
        options, source = self._options, self._source
        bounds = source.read.to_domain()
        if draft.action == "read":
            arguments = read_arguments(draft.key.schema, draft.parameters, bounds)
            result = records_schema(draft.value.schema, draft.key.schema)
        else:
            arguments = write_arguments(
                draft.value.schema,
                draft.key.schema,
                draft.headers,
                draft.parameters,
                is_key_required=draft.is_key_required,
            )
            result = receipt_schema() if draft.action == "produce" else reply_schema(draft.reply_schema)
        jsonschema_rs.validator_for(arguments, offline=True)
        jsonschema_rs.validator_for(result, offline=True)
        title = as_text(as_object(self._document.root.get("info")).get("title")) if self._document else "kafka"
        api_name = options.api.name if options.api else title or "kafka"
        version = options.api.version if options.api else self._document and self._document.version
        return Tool(
            name=name,
            tenant=options.tenant,
            title=draft.title or None,
            description=_cut(joined(draft.description, f"{_VERBS[draft.action]} the Kafka topic {draft.topic}.")),
            input_schema=arguments,
            output_schema=result,
            icons=options.icons,
            tags=tuple(dict.fromkeys((*draft.tags, *options.extra_tags))),
            api=ApiReference(name=api_name, version=version, operation_id=draft.id),
            binding=KafkaBinding(
                bootstrap_servers=server.bootstrap_servers,
                security=server.security,
                action=draft.action,
                topic=draft.topic,
                value=draft.value.format,
                key=draft.key.format,
                fixed_headers=draft.fixed_headers,
                reply=draft.reply,
                read=bounds,
                registry=source.registry(),
            ),
            timeout_seconds=options.timeout_seconds,
            rate_limit=options.rate_limit,
            authentication=options.authentication,
            metered_arguments=tuple(key for key in options.metered_arguments if key in arguments["properties"]),
        )

    def _error(self, place: str, message: str) -> None:
        self._findings.append(error(f"{self._location} {place}".strip(), message))

    def _warn(self, place: str, message: str) -> None:
        self._findings.append(warning(f"{self._location} {place}".strip(), message))


def _reason(problem: Exception, draft: Draft) -> str:
    if type(problem) is CannotConvert:
        return str(problem)
    if isinstance(problem, pydantic.ValidationError):
        return f"it cannot be expressed as a tool for the topic {draft.topic[:80]!r}: {first_problem(problem)}"
    return "it cannot be expressed as a tool"


def hand_written_arguments(manifest: KafkaManifest) -> JsonObject:
    """The input schema of a Tool without `spec.inputSchema`. Raises InvalidInput."""
    try:
        value = _of_manifest(manifest.value.to_domain(), manifest.value.definition, "value")
        key = _of_manifest(manifest.key.to_domain(), manifest.key.definition, "key")
    except InvalidInput as problem:
        raise InvalidInput(f"spec.kafka: {problem.message}") from None
    names = parameters_of(manifest.topic)
    parameters: dict[str, JsonObject] = {name: {"type": "string", "pattern": PARAMETER_PATTERN} for name in names}
    if manifest.action == "read":
        return read_arguments(key, parameters, manifest.read.to_domain())
    headers = ANY_HEADERS if manifest.headers is None else manifest.headers or None
    return write_arguments(value, key, headers, parameters)


def _of_manifest(part: MessagePart, definition: Any, prefix: str) -> PartSchema:
    if part.format == "json" and is_object(definition):
        return PartSchema(definition)
    if part.format == "protobuf" and isinstance(definition, str):  # with the comments, which the part has not
        part = part.model_copy(update={"definition": definition})
    return PartSchema(*schema_of(part, prefix, is_input=True))


def _live(text: str) -> JsonObject | None:
    """The description of a live cluster, if that is what the text is."""
    try:
        content = pydantic_core.from_json(text)
    except ValueError:
        return None
    live = as_object(content).get("kafka")
    return live if is_object(live) and "topics" in live else None


def _cut(text: str) -> str:
    return text if len(text) <= DESCRIPTION_LIMIT else f"{text[: DESCRIPTION_LIMIT - 1].rstrip()}…"
