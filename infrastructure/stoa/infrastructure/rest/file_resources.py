"""Files in arguments that are resources of the gateway: `stoa://...` stands for its content, as the caller may read
it."""

import base64
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import quote

from stoa.application.ports import CallContext
from stoa.domain.results.result import EmbeddedResource
from stoa.domain.schema.json_value import JsonObject, is_array
from stoa.infrastructure.rest.encoding import invalid_argument

ReadResource = Callable[[str, CallContext], Awaitable[tuple[EmbeddedResource, ...]]]
_SCHEME = "stoa://"


async def with_file_resources(
    names: Sequence[str], arguments: JsonObject, context: CallContext, read: ReadResource | None
) -> JsonObject:
    """The arguments with the content of resources, as data URIs, in the place of their URIs. `names`: the arguments
    that stand for files. Raises what reading a resource raises, and InvalidArguments for one without content."""
    replaced: JsonObject = {}
    for name in names:
        value = arguments.get(name)
        if is_array(value):
            if any(_is_resource(entry) for entry in value):
                replaced[name] = [await _content(name, entry, context, read) for entry in value]
        elif _is_resource(value):
            replaced[name] = await _content(name, value, context, read)
    return {**arguments, **replaced} if replaced else arguments


def _is_resource(value: object) -> bool:
    return isinstance(value, str) and value.startswith(_SCHEME)


async def _content(name: str, value: object, context: CallContext, read: ReadResource | None) -> object:
    if not isinstance(value, str) or not value.startswith(_SCHEME):
        return value
    contents = () if read is None else await read(value, context)
    if not contents:
        raise invalid_argument(name, "base64, a data: URI, or the URI of a resource that you may read")
    first = contents[0]
    blob = first.blob if first.blob is not None else base64.b64encode((first.text or "").encode()).decode()
    file = quote(value.rstrip("/").rpartition("/")[2], safe="")
    return f"data:{first.mime_type or ''};name={file};base64,{blob}"
