"""Turns manifests and API descriptions into operations. Their authors are not trusted, so this runs in a
BoundedExecutor, including the first compilation of their schemas: the process that serves calls compiles nothing that
took long."""

import re
import time
from collections.abc import Container, Iterable, Iterator

import pydantic_core

from stoa.application.manifests.conversion_report import conversion_report
from stoa.application.manifests.overrides import overridden
from stoa.application.manifests.parse import BUILT_IN_PARTS, ManifestParts, ToolSetManifest, parse_manifest
from stoa.application.manifests.token_budgets import notes_on_shown, on_unmet, within_budget
from stoa.application.manifests.tools import ToolManifest
from stoa.application.ports.conversion_report import ConversionReport
from stoa.application.ports.spec import Conversion, SpecConverter, SpecDocument
from stoa.application.ports.token_counter import TokenCounter
from stoa.application.schemas.argument_schema import ArgumentSchema
from stoa.application.schemas.bounded_validator import patterns_of
from stoa.application.schemas.output_schema import OutputSchema
from stoa.domain.errors import InvalidInput
from stoa.domain.finding import Finding, error
from stoa.domain.operations.binding import StaticBinding, StaticResource
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.token_budget import TokenBudget
from stoa.domain.operations.tool import Tool
from stoa.domain.schema.json_value import JsonObject
from stoa.domain.schema.shared_levels import SharedLevels

SCHEMA_LIMIT = 512 * 1024
"""Upper bound on the bytes of one schema as JSON. Compiling holds up the whole process, some 20 ms at this size."""
_COSTLY = re.compile(rb'"(?:unevaluated|\$dynamic|\$recursive)')
"""Keywords with which compiling may take more than time in proportion to the size of the schema."""
COMPILE_SECONDS = 1.0
"""Upper bound on the computing time for one operation; usual are a few milliseconds."""


def understood(
    content: JsonObject, parts: ManifestParts = BUILT_IN_PARTS, counter: TokenCounter | None = None
) -> Iterator[Operation | ToolSetManifest]:
    """The one operation that a manifest describes, or the manifest of a set of them. `counter`: for token budgets.
    Raises InvalidInput."""
    manifest = parse_manifest(content, parts)
    if isinstance(manifest, ToolSetManifest):
        yield manifest
        return
    operation = manifest.to_operation()
    try:
        check_cost(operation)
    except InvalidInput as refused:
        raise InvalidInput(f"spec.{refused.message}") from refused
    if isinstance(manifest, ToolManifest) and isinstance(operation, Tool) and manifest.spec.token_budget is not None:
        (shown,) = within_budget([operation], TokenBudget(per_tool=manifest.spec.token_budget), counter)
        operation = shown.tool
    yield operation


def understood_each(
    contents: Iterable[JsonObject], parts: ManifestParts = BUILT_IN_PARTS, counter: TokenCounter | None = None
) -> Iterator[Operation | ToolSetManifest | None]:
    """Like `understood`, for several manifests in order; None for a refused one, whose reason `understood` gives."""
    for content in contents:
        try:
            yield from understood(content, parts, counter)
        except InvalidInput:
            yield None


def converted(
    converter: SpecConverter,
    description: SpecDocument,
    manifest: ToolSetManifest,
    counter: TokenCounter | None = None,
) -> Iterator[Operation | Finding | frozenset[str] | ConversionReport]:
    """The operations of an API description, the description itself as a resource, a finding for what is left out, the
    origins that tools were withheld from, and the conversion report. `counter`: for token budgets. Raises
    InvalidInput."""
    conversion = converter.convert(description, manifest.conversion_options())
    yield conversion.withheld_origins
    yield from conversion.findings
    tools: list[Operation] = []
    on_overrides: list[Finding] = []
    for part in overridden(conversion.tools, manifest.spec.overrides, manifest.spec.tool_defaults.answer):
        if isinstance(part, Tool):
            tools.append(part)
        else:
            on_overrides.append(part)
    yield from on_overrides
    compiled = _schemas_of(conversion.tools) if conversion.are_compiled else frozenset[int]()
    operations = list(affordable((*tools, *conversion.contents), compiled))
    budget, notes = manifest.spec.token_budget.to_domain(), list[Finding]()
    if budget:
        shown = within_budget([each for each in operations if isinstance(each, Tool)], budget, counter)
        operations = [*(each.tool for each in shown), *(each for each in operations if not isinstance(each, Tool))]
        tokenizer = "" if counter is None else counter.name
        unmet = on_unmet(shown, budget, tokenizer, description.location)
        yield from unmet
        notes = [*unmet, *notes_on_shown(shown, _places(conversion, description.location), tokenizer)]
    yield conversion_report(
        conversion,
        description.location,
        api=manifest.metadata.name,
        tenant=manifest.tenant,
        more=[*on_overrides, *notes],
    )
    yield from operations
    yield _api_document(manifest, description)


def _places(conversion: Conversion, location: str) -> dict[str, str]:
    """The place that findings about an operation name, by the name of its tool."""
    return {each.tool: f"{location} {each.operation}" for each in conversion.operations if each.tool is not None}


def _schemas_of(tools: Iterable[Tool]) -> frozenset[int]:
    return frozenset(id(schema) for tool in tools for schema in (tool.input_schema, tool.output_schema))


def affordable(
    operations: Iterable[Operation], compiled: Container[int] = frozenset()
) -> Iterator[Operation | Finding]:
    """Each operation, or why its schemas cost too much. `compiled`: the identities of schemas that were compiled once
    already."""
    levels = SharedLevels()
    for operation in operations:
        try:
            check_cost(operation, compiled, levels)
        except InvalidInput as refused:
            yield error(str(operation.key), refused.message)
        else:
            yield operation


def check_cost(
    operation: Operation, compiled: Container[int] = frozenset(), levels: SharedLevels | None = None
) -> None:
    """Compile the schemas of an operation once, for the time that it takes. `compiled` as for `affordable`; `levels`:
    shared with other operations. Raises InvalidInput."""
    output = operation.output_schema if isinstance(operation, Tool) else None
    written = {"inputSchema": pydantic_core.to_json(operation.input_schema)}
    if output is not None:
        written["outputSchema"] = pydantic_core.to_json(output)
    for name, text in written.items():
        if len(text) > SCHEMA_LIMIT:
            raise InvalidInput(f"{name} is larger than {SCHEMA_LIMIT} bytes; leave out what callers need not know")
    began = time.thread_time()
    if id(operation.input_schema) not in compiled or _COSTLY.search(written["inputSchema"]):
        ArgumentSchema(operation.input_schema)
    elif b'"pattern' in written["inputSchema"]:
        patterns_of(operation.input_schema)
    if isinstance(operation, Tool):
        operation.make_portable(levels or SharedLevels())  # remembered, so that it comes along
        if output is not None and (id(output) not in compiled or _may_fit_no_object(output, written["outputSchema"])):
            OutputSchema(operation.name, output)
    if time.thread_time() - began > COMPILE_SECONDS:
        raise InvalidInput(
            f"inputSchema and outputSchema take longer than {COMPILE_SECONDS:g} s to compile; simplify them"
        )


def _may_fit_no_object(output: JsonObject, written: bytes) -> bool:
    """True if only compiling it in its published form can tell that an output schema is one of objects."""
    return "$ref" in output or b'"patternProperties"' in written


def _api_document(manifest: ToolSetManifest, description: SpecDocument) -> Resource:
    """The description itself, as it was fetched, as a resource: it holds more than the tools show."""
    name = manifest.metadata.name
    text = description.text.encode("utf-8", "replace").decode()
    uri = f"stoa://apis/{name}"
    guessed = "application/json" if text.lstrip()[:1] in {"{", "["} else "application/yaml"
    media_type = description.media_type or guessed
    return Resource(
        uri=uri,
        name=name,
        tenant=manifest.tenant,
        title=manifest.spec.display_name,
        description=manifest.spec.description or f"The description of the API behind the tools of {name}.",
        mime_type=media_type,
        size=len(text.encode()),
        binding=StaticBinding(contents=(StaticResource(uri=uri, mime_type=media_type, text=text),)),
    )
