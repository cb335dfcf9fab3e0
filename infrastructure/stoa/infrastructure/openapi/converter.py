"""Converts OpenAPI documents to tools: selects operations, converts each, and reports the rest as findings.

document    text to document            references  $ref within it            servers    base URLs
paths       operations, path templates  parameters, body, result_schema       operation  the tool
schema      any version to 2020-12      dialect     what input and output keep  bundle    in place or $defs
discriminators, alternatives            which branch or subtype a value is for  patterns  other dialects to ECMA-262
"""

import re
from collections import Counter

from stoa.application.ports import Conversion, ConversionOptions, SpecConverter, SpecDocument
from stoa.application.ports.spec import DescribedOperation, TriedExample
from stoa.domain.operations.tool import ApiReference, Tool
from stoa.domain.schema.inlining import SIZE_LIMIT
from stoa.domain.schema.json_value import as_object, texts_in
from stoa.infrastructure.openapi.conversion_context import ConversionContext
from stoa.infrastructure.openapi.document import ApiDocument, read_document
from stoa.infrastructure.openapi.document_findings import (
    report_calls_to_others,
    report_other_version,
    report_repeated_keys,
    report_unusual_paths,
)
from stoa.infrastructure.openapi.examples import tried_examples
from stoa.infrastructure.openapi.naming import earlier_names_of, names_of
from stoa.infrastructure.openapi.operation import tool_of
from stoa.infrastructure.openapi.paths import ApiOperation, CannotConvert, operations_of

_WORD_GAPS = re.compile(r"[^a-z0-9]+")


class OpenApiConverter(SpecConverter):
    """OpenAPI 2.0, 3.0, 3.1 and 3.2, as JSON or YAML. Webhooks and callbacks are calls to others and yield no tools."""

    def convert(self, document: SpecDocument, options: ConversionOptions) -> Conversion:
        api_document = read_document(document)
        context = ConversionContext(api_document, options)
        report_repeated_keys(api_document, context.report)
        report_other_version(api_document, context.report)
        described: list[DescribedOperation] = []
        operations = _selected(api_document, context, described)
        report_calls_to_others(api_document, operations, context.report)
        api = _api(api_document, options)
        tools: list[Tool] = []
        examples: list[TriedExample] = []
        homeless = 0
        withheld: Counter[str] = Counter()
        has_credential = bool(options.authentication.entries)
        names, earlier_names = names_of(operations, context), earlier_names_of(operations, options)
        in_use = frozenset(names)
        for operation, name, earlier_name in zip(operations, names, earlier_names, strict=True):
            base_url = context.servers.base_url(operation.path_item, operation.content)
            if base_url is None:
                homeless += 1
                described.append(DescribedOperation(operation.place, None, "no usable server is given"))
                continue
            foreign = context.servers.foreign_origin(base_url) if has_credential else None
            if foreign is not None:
                withheld[foreign] += 1
                reason = f"the credential would go to {foreign}"
                described.append(DescribedOperation(operation.place, None, reason))
                continue
            try:
                tool = tool_of(operation, name, base_url, api, context)
            except CannotConvert as problem:
                context.report.error(operation.place, f"left out: {problem}")
                described.append(DescribedOperation(operation.place, None, str(problem)))
            else:
                is_renamed = earlier_name != name and earlier_name not in in_use
                tools.append(tool.model_copy(update={"earlier_names": (earlier_name,)}) if is_renamed else tool)
                described.append(DescribedOperation(operation.place, name))
                if options.tries_examples:
                    examples += tried_examples(operation, tool, context)
        if homeless:
            message = f"{homeless} operations are left out: no usable server is given; set spec.baseURL (http or https)"
            context.report.error("", message)
        if withheld:
            message = (
                f"{withheld.total()} operations are left out: the description would have the credential sent to "
                f"{', '.join(sorted(withheld)[:3])}, not where it was fetched from; set spec.baseURL if that is meant"
            )
            context.report.error("", message)
        if context.servers.assumed:
            urls = ", ".join(sorted(context.servers.assumed)[:3])
            message = f"servers of operations ({urls}) are relative; the host of the document's own server is taken"
            context.report.warning("", message)
        context.security.report(context.report)
        if context.too_large_results:
            message = f"{context.too_large_results} tools have no output schema: theirs exceeds {SIZE_LIMIT // 1024} KB"
            context.report.warning("", message)
        return Conversion(
            tuple(tools),
            context.report.findings,
            frozenset(withheld),
            operations=tuple(described),
            examples=tuple(examples),
            are_compiled=True,
        )


def _selected(
    document: ApiDocument, context: ConversionContext, left_out: list[DescribedOperation]
) -> list[ApiOperation]:
    """The operations that the options select; `left_out` gets those that cannot be read, whatever they would be."""
    operations = list(operations_of(document, context.references, context.report, left_out))
    report_unusual_paths(document, context.report, has_operations=bool(operations))
    operation_ids = {operation.operation_id for operation in operations}
    for missing in sorted(context.options.operation_ids - operation_ids):
        context.report.warning("", f"no operation has the id {missing!r} (selector.operationIds)")
    return [operation for operation in operations if _is_wanted(operation, context.options)]


def _is_wanted(operation: ApiOperation, options: ConversionOptions) -> bool:
    tags = set(texts_in(operation.content.get("tags")))
    return (
        (not options.include_tags or not tags.isdisjoint(options.include_tags))
        and tags.isdisjoint(options.exclude_tags)
        and (not options.methods or operation.method in options.methods)
        and operation.path.startswith(options.path_prefix)
        and (not options.operation_ids or operation.operation_id in options.operation_ids)
    )


def _api(document: ApiDocument, options: ConversionOptions) -> ApiReference:
    info = as_object(document.root.get("info"))
    title, version = info.get("title"), info.get("version")
    declared, document_version = options.api, str(version) if isinstance(version, str | int | float) else ""
    return ApiReference(
        name=declared.name if declared else _slug(title),
        version=(declared.version if declared else None) or document_version or None,
    )


def _slug(title: object) -> str:
    return _WORD_GAPS.sub("-", str(title or "").lower()).strip("-")[:64] or "api"
