"""The Accept header of an operation: the media types of its successful answers, JSON first, then anything.

The wildcard comes last because a server that negotiates strictly answers 406 if a client accepts only types that it
does not produce.
"""

import re

from stoa.domain.operations.tool import RestBinding
from stoa.domain.schema.json_value import JsonObject, as_object, texts_in
from stoa.infrastructure.openapi.conversion_context import ConversionContext
from stoa.infrastructure.openapi.paths import ApiOperation
from stoa.infrastructure.openapi.references import Unresolvable

_MEDIA_RANGE = re.compile(r"^[A-Za-z0-9!#$&^_.+-]+/([A-Za-z0-9!#$&^_.+-]+|\*)\Z")
_LIMIT = 8
ANYTHING: str = RestBinding.model_fields["accept"].default


def accept_of(operation: ApiOperation, context: ConversionContext) -> str:
    plain = (name.partition(";")[0].strip() for name in answer_types(operation, context))
    named = [name for name in dict.fromkeys(plain) if _MEDIA_RANGE.match(name) and name != "*/*"]
    if not named:
        return ANYTHING
    named.sort(key=lambda name: "json" not in name.lower())
    return ", ".join([*named[:_LIMIT], "*/*;q=0.1"])


def answer_types(operation: ApiOperation, context: ConversionContext) -> list[str]:
    """The media types of successful answers, as they are described."""
    if context.document.is_swagger:
        return texts_in(operation.content.get("produces", context.document.root.get("produces")))
    media_types: list[str] = []
    responses = as_object(operation.content.get("responses"))
    for code in successful_codes(responses):
        try:
            media_types += as_object(context.references.follow(responses[code]).get("content"))
        except Unresolvable:
            continue
    return media_types


def successful_codes(responses: JsonObject) -> list[str]:
    """The codes under which successful answers are described: `default` where nothing else is described."""
    return ["default"] if list(responses) == ["default"] else [code for code in responses if code.startswith("2")]
