"""The response headers that an operation documents, of all its answers."""

from stoa.domain.results.response_headers import ALWAYS_KEPT, kept_names
from stoa.domain.schema.json_value import as_object
from stoa.infrastructure.openapi.conversion_context import ConversionContext
from stoa.infrastructure.openapi.paths import ApiOperation
from stoa.infrastructure.openapi.references import Unresolvable


def response_headers_of(operation: ApiOperation, context: ConversionContext) -> tuple[str, ...]:
    """The headers that callers may get in addition to those that are always kept."""
    headers: dict[str, None] = {}
    for response in as_object(operation.content.get("responses")).values():
        try:
            headers |= dict.fromkeys(as_object(context.references.follow(response).get("headers")))
        except Unresolvable:
            continue
    return tuple(name for name in kept_names(headers) if name not in ALWAYS_KEPT)
