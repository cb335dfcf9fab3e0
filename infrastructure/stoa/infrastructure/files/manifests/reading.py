"""Reads the documents in the text of a manifest file. A BoundedExecutor runs it in another process."""

from collections.abc import Iterator

from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.documents import DocumentProblem, bounded_content, read_json, read_values

SIZE_LIMIT = 8 * 1024 * 1024
"""Upper bound on one file, in bytes."""


def contents_of(text: bytes, *, is_json: bool) -> Iterator[JsonObject | str]:
    """Yields the documents of a file: each a manifest's content, or the problem with it. Raises InvalidInput if the
    documents cannot be told apart."""
    try:
        decoded = text.decode("utf-8-sig")
        values = [read_json(decoded)] if is_json else read_values(decoded)
    except UnicodeDecodeError:
        raise InvalidInput("is not UTF-8 text; save it as UTF-8") from None
    except DocumentProblem as problem:
        raise InvalidInput(str(problem)) from problem
    for value in values:
        yield bounded_content(value)
