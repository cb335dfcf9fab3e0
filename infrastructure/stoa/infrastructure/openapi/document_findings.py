"""Findings about a document as a whole: what no single operation can tell."""

from collections.abc import Sequence

from stoa.domain.schema.json_pointer import pointer_to
from stoa.domain.schema.json_value import as_object
from stoa.infrastructure.openapi.document import ApiDocument
from stoa.infrastructure.openapi.paths import MORE_PATHS, ApiOperation
from stoa.infrastructure.openapi.report import Report

_REPEATED_LIMIT = 100
"""Findings about repeated keys; a generator that repeats one does so everywhere."""
_OF_SWAGGER = {
    "host": "read where `servers` is absent",
    "basePath": "read with `host` where `servers` is absent",
    "definitions": "schemas there are found by references",
    "securityDefinitions": "read where `components.securitySchemes` is absent",
}
_OPERATION_DEPTH = 3
"""Tokens of the pointer of an operation: a repeated key above it loses operations."""


def report_repeated_keys(document: ApiDocument, report: Report) -> None:
    for file, key in document.repeated[:_REPEATED_LIMIT]:
        pointer = pointer_to(key.tokens)
        message = f"the key {key.tokens[-1][:80]!r} occurs twice in one object; the last one counts"
        if file:
            report.warning(f"{file}#{pointer}", message, (), line=key.line)
        elif key.tokens[0] == "paths" and len(key.tokens) <= _OPERATION_DEPTH:
            message = f"{message}, and what stands below the first is lost"
            report.error(f"#{pointer}", message, key.tokens, line=key.line)
        else:
            report.warning(f"#{pointer}", message, key.tokens, line=key.line)
    if len(document.repeated) > _REPEATED_LIMIT:
        report.warning("", f"{len(document.repeated) - _REPEATED_LIMIT} more keys occur twice")


def report_other_version(document: ApiDocument, report: Report) -> None:
    """Reports fields of version 2.0 in a later document. Those that leave no doubt are read; operations and parameters
    report theirs themselves."""
    if document.is_swagger:
        return
    for key, use in _OF_SWAGGER.items():
        if key in document.root:
            report.warning(f"#/{key}", f"`{key}` is of 2.0, and this document says another version; {use}")


def report_calls_to_others(document: ApiDocument, operations: Sequence[ApiOperation], report: Report) -> None:
    """Reports webhooks and callbacks, which the API calls and no caller of tools can."""
    webhooks = as_object(document.root.get("webhooks")) or as_object(document.root.get("x-webhooks"))
    if webhooks:
        message = f"{len(webhooks)} webhooks are calls of the API to others, so they become no tools"
        report.warning("", message, ("webhooks" if "webhooks" in document.root else "x-webhooks",))
    with_callbacks = [operation for operation in operations if as_object(operation.content.get("callbacks"))]
    if with_callbacks:
        message = f"{len(with_callbacks)} operations have callbacks, which are calls of the API to others"
        report.warning("", f"{message}, so they become no tools", ("paths",))


def report_unusual_paths(document: ApiDocument, report: Report, *, has_operations: bool) -> None:
    if as_object(document.root.get(MORE_PATHS)):
        message = "an extension of OpenAPI; its operations are converted, with the query of their path as it is written"
        report.warning(f"#/{MORE_PATHS}", message)
    if not has_operations:
        report.warning("", "no operation of the API description can be used, so there are no tools", ("paths",))
