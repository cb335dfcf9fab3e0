"""Names of the tools of one document."""

import re
from collections.abc import Sequence

from stoa.domain.operations.naming import tool_name, unique
from stoa.infrastructure.openapi.conversion_context import ConversionContext
from stoa.infrastructure.openapi.paths import ApiOperation

_WORDS = re.compile(r"[^A-Za-z0-9]+")


def names_of(operations: Sequence[ApiOperation], context: ConversionContext) -> list[str]:
    """One name for each operation, in order. Of two equal names the later is numbered, with a warning."""
    options = context.options
    wanted: list[str] = []
    for operation in operations:
        text = (operation.operation_id if options.use_operation_id else None) or name_from_path(operation)
        wanted.append(tool_name(text, options.name_prefix, options.name_suffix))
    given = unique(wanted)
    for operation, name, wish in zip(operations, given, wanted, strict=True):
        if name != wish:
            context.report.warning(
                operation.place, f"the name {wish!r} is taken; this one is {name!r} (change operationId)"
            )
    return given


def name_from_path(operation: ApiOperation) -> str:
    """`get_pets_petId` for GET /pets/{petId}; query and fragment of a path key are part of it."""
    words = [word for word in _WORDS.split(operation.path) if word]
    return "_".join([operation.method.lower(), *words])
