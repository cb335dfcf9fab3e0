"""What every spec source demands of a document: a bounded size, and UTF-8 unless its name says that it is binary."""

import base64

from stoa.application.ports import SpecDocument
from stoa.domain.errors import InvalidInput

MAX_BYTES = 64 * 1024 * 1024
_BINARY = (".binpb", ".protoset", ".pb", ".desc", ".fds")
"""Names of descriptor sets of Protocol Buffers."""


def document(location: str, content: bytes | bytearray | str) -> SpecDocument:
    """The document that these bytes, or this text, are; a byte order mark is not part of it. A binary one is given in
    base64, as application/octet-stream. Raises InvalidInput."""
    if location.endswith(_BINARY):
        binary = content.encode() if isinstance(content, str) else content
        return SpecDocument(location, base64.b64encode(binary).decode("ascii"), "application/octet-stream")
    if isinstance(content, str):
        return SpecDocument(location, content.removeprefix("\ufeff"))
    try:
        return SpecDocument(location, content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InvalidInput(f"{location}: is not UTF-8 text; save it as UTF-8") from None


def too_large(location: str, limit: int) -> InvalidInput:
    return InvalidInput(f"{location}: is larger than {limit} bytes; give a smaller document")
