"""GraphQL schemas and operation documents to tools: what is selected, and what is told about the rest.

schema_text.py    text to schema          operations.py         operations to tools     input_schema.py   arguments
answer_schema.py  output schemas          default_selection.py  what is answered        selectable.py     what may be
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import pydantic

from stoa.application.ports import Conversion, ConversionOptions, SpecConverter, SpecDocument
from stoa.domain.errors import InvalidInput
from stoa.domain.finding import Finding, Severity
from stoa.domain.operations.binding import StreamBounds
from stoa.domain.operations.naming import tool_name, unique
from stoa.domain.operations.tool import ApiReference, Tool
from stoa.infrastructure.graphql.binding import GraphQlBinding, OperationType
from stoa.infrastructure.graphql.federation import MACHINERY
from stoa.infrastructure.graphql.manifest import GraphQlSource
from stoa.infrastructure.graphql.operations import (
    CannotConvert,
    Fragment,
    OperationPlace,
    ServiceOperation,
    fragments_of,
    generated_operation,
    places_of,
    written_operation,
)
from stoa.infrastructure.graphql.schema_text import OperationFile, parsed, read_schema, taken_apart

DESCRIPTION_LIMIT = 1024
_NAMED = 10


@dataclass(frozen=True)
class GraphQlConverter(SpecConverter):
    """Operations of the documents first, then the generated ones."""

    source: GraphQlSource

    def convert(self, document: SpecDocument, options: ConversionOptions) -> Conversion:
        text, files = taken_apart(document.text)
        return _Conversion(self.source, options, document.location, read_schema(text, document.location)).run(files)


class _Conversion:
    def __init__(self, source: GraphQlSource, options: ConversionOptions, location: str, schema: Any) -> None:
        self._source = source
        self._options = options
        self._location = location
        self._schema = schema
        self._findings: list[Finding] = []
        self._undescribed = 0

    def run(self, files: list[OperationFile]) -> Conversion:
        operations = [*self._written(files), *self._generated(has_files=bool(files))]
        self._tell_of_selectors()
        endpoint = self._options.base_url or self._source.endpoint
        if endpoint is None:
            count, field = len(operations), "spec.graphQL.endpoint"
            self._error("", f"{count} operations are left out: it is not known where they are sent; set {field}")
            return Conversion((), tuple(self._findings))
        options = self._options
        wanted = [tool_name(each.name, options.name_prefix, options.name_suffix) for each in operations]
        tools = [
            tool
            for operation, name in zip(operations, unique(wanted), strict=True)
            if (tool := self._tool(operation, name, endpoint)) is not None
        ]
        if self._undescribed:
            message = f"{self._undescribed} tools have input types that are too large to describe; they accept objects"
            self._warn("", message)
        return Conversion(tuple(tools), tuple(self._findings))

    def _written(self, files: list[OperationFile]) -> Iterator[ServiceOperation]:
        for place in self._places(files):
            if self._is_selected(place.name):
                try:
                    yield written_operation(place, self._schema)
                except CannotConvert as problem:
                    message = f"{place.name or 'an operation'} is left out: {problem}"
                    self._findings.append(Finding(severity=Severity.ERROR, where=place.where, message=message))

    def _places(self, files: list[OperationFile]) -> Iterator[OperationPlace]:
        """The operations of all files, each with the fragments of its own file and those of the others."""
        documents: list[tuple[OperationFile, Any]] = []
        shared: dict[str, Fragment] = {}
        for file in files:
            try:
                document = parsed(file.text, file.name)
            except InvalidInput as refused:
                documents.append((file, refused))
            else:
                documents.append((file, document))
                shared = {**fragments_of(file, document), **shared}
        for file, document in documents:
            if isinstance(document, InvalidInput):
                self._findings.append(Finding(severity=Severity.ERROR, where=file.name, message=document.message))
            else:
                yield from places_of(file, document, shared)

    def _generated(self, *, has_files: bool) -> Iterator[ServiceOperation]:
        queries = not has_files if self._source.queries is None else self._source.queries
        yield from self._of_root("query", self._schema.query_type, queries)
        yield from self._of_root("mutation", self._schema.mutation_type, self._source.mutations)
        chosen = self._source.subscriptions
        yield from self._of_root("subscription", self._schema.subscription_type, chosen)
        named = chosen if isinstance(chosen, tuple) else ()
        fields = {} if chosen is True else getattr(self._schema.subscription_type, "fields", {})
        left_out = [name for name in fields if name not in named]
        if left_out:
            message = (
                f"{len(left_out)} subscriptions are left out: {_some(left_out)}; add them by spec.graphQL.subscriptions"
            )
            self._warn("", message)

    def _of_root(
        self, operation: OperationType, root: Any, chosen: bool | tuple[str, ...]
    ) -> Iterator[ServiceOperation]:
        fields = getattr(root, "fields", {})
        names = [*fields] if chosen is True else [*(chosen or ())]
        for name in names:
            field = fields.get(name)
            if field is None:
                self._warn("", f"there is no {operation} field {name!r} (spec.graphQL)")
            elif name in MACHINERY:
                self._warn(f"{operation} {name}", "left out: it is for routers of Apollo Federation")
            elif self._is_selected(name):
                try:
                    yield generated_operation(self._schema, operation, name, field)
                except (CannotConvert, RecursionError) as problem:
                    self._error(f"{operation} {name}", f"left out: {problem}")

    def _is_selected(self, name: str) -> bool:
        return not self._options.operation_ids or name in self._options.operation_ids

    def _tell_of_selectors(self) -> None:
        options = self._options
        if options.include_tags or options.exclude_tags or options.methods or options.path_prefix:
            message = "tags, excludeTags, methods and pathPrefix of selector do not apply to GraphQL; use operationIds"
            self._warn("", message)

    def _tool(self, operation: ServiceOperation, name: str, endpoint: str) -> Tool | None:
        options, source = self._options, self._source
        api_name = options.api.name if options.api else "graphql"
        takes_fields = source.fields_argument and source.persisted_documents != "trusted"
        schema = operation.input_schema
        if operation.fields_argument and not takes_fields:
            kept = {key: part for key, part in schema["properties"].items() if key != operation.fields_argument}
            schema = {**schema, "properties": kept}
        self._undescribed += not operation.is_fully_described
        try:
            jsonschema_rs.validator_for(schema, offline=True)
            return Tool(
                name=name,
                tenant=options.tenant,
                description=_described(operation, source.stream.to_domain()),
                input_schema=schema,
                output_schema=operation.output_schema,
                icons=options.icons,
                tags=options.extra_tags,
                version=options.api.version if options.api else None,
                api=ApiReference(name=api_name, operation_id=operation.name),
                binding=GraphQlBinding(
                    endpoint=self._endpoint_of(operation, endpoint),
                    operation=operation.operation,
                    operation_name=operation.name,
                    document=operation.document,
                    document_id=source.document_ids.get(operation.name),
                    method=source.method if operation.operation == "query" else "POST",
                    persisted=source.persisted_documents,
                    fields_argument=operation.fields_argument if takes_fields else None,
                    selection=operation.selection if takes_fields else "",
                    selectable=operation.selectable if takes_fields else None,
                    subscription_protocol=source.subscription_protocol,
                    stream=source.stream.to_domain(),
                    tls=source.tls.to_domain(),
                ),
                timeout_seconds=options.timeout_seconds,
                rate_limit=options.rate_limit,
                authentication=options.authentication,
                metered_arguments=tuple(key for key in options.metered_arguments if key in schema["properties"]),
            )
        except (pydantic.ValidationError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
            self._error(f"{operation.operation} {operation.name}", "left out: it cannot be expressed as a tool")
            return None

    def _endpoint_of(self, operation: ServiceOperation, endpoint: str) -> str:
        own = self._source.subscription_endpoint if operation.operation == "subscription" else None
        return endpoint if own is None else own

    def _error(self, place: str, message: str) -> None:
        self._tell(Severity.ERROR, place, message)

    def _warn(self, place: str, message: str) -> None:
        self._tell(Severity.WARNING, place, message)

    def _tell(self, severity: Severity, place: str, message: str) -> None:
        self._findings.append(Finding(severity=severity, where=f"{self._location} {place}".strip(), message=message))


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _described(operation: ServiceOperation, bounds: StreamBounds) -> str:
    text = _cut(operation.description or f"{operation.operation} {operation.name}")
    if operation.operation != "subscription":
        return text
    return f"{text}\nAnswers with what comes within {bounds.max_seconds:g} s, at most {bounds.max_messages} messages."


def _cut(text: str) -> str:
    return text if len(text) <= DESCRIPTION_LIMIT else f"{text[: DESCRIPTION_LIMIT - 1].rstrip()}…"
