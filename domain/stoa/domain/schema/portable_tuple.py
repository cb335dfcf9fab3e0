"""The portable form of a tuple (`prefixItems`): a list of what its entries may be, and their order in words, because no
client takes the keyword."""

from typing import Any

from stoa.domain.schema.flat_schema import NOTES, References, is_never, is_number, types_in
from stoa.domain.schema.json_value import JsonObject, as_array, as_text
from stoa.domain.schema.portable_words import cut

_NAME = 40
"""Characters of the description of an entry."""
_WORDS = 200


def tuple_entries(flat: JsonObject, references: References) -> tuple[JsonObject | None, int | None, list[str]]:
    """The schema of any entry (None: it may be anything), the most entries, and the order of the first in words."""
    first = [references.flat(entry, ())[0] for entry in as_array(flat["prefixItems"])]
    rest, most = flat.get("items", True), flat.get("maxItems", len(first) + 1)
    is_closed = is_never(rest) or (is_number(most) and most <= len(first))
    entries: list[Any] = [*as_array(flat["prefixItems"]), *([] if is_closed else [rest])]
    distinct = [entry for number, entry in enumerate(entries) if entry not in entries[:number]]
    is_described = all(references.flat(entry, ())[0].keys() - NOTES for entry in distinct)
    names = [cut(as_text(entry.get("description")) or as_text(entry.get("title")), _NAME) for entry in first]
    types = [" or ".join(types_in(entry.get("type"))) for entry in first]
    words: list[str] = []
    if any(names) or (len(distinct) > 1 and any(types)):
        told = [
            f"{kind or 'anything'} ({name})" if name else kind or "anything"
            for kind, name in zip(types, names, strict=True)
        ]
        words = [cut(f"in this order: {', '.join(told)}", _WORDS)]
    described = None if not is_described else distinct[0] if len(distinct) == 1 else {"anyOf": distinct}
    return described, len(first) if is_closed else None, words
