"""Names of the tools of one document. They follow from what an operation says, never from where it stands: the same
operations in another order have the same names.
"""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

from stoa.application.ports import ConversionOptions
from stoa.domain.operations.naming import NAME_LIMIT, NumberedNames, legal, tool_name, unique
from stoa.domain.operations.readable_names import Word, fitted, joined, words_of
from stoa.infrastructure.openapi.conversion_context import ConversionContext
from stoa.infrastructure.openapi.paths import ApiOperation

_WORDS = re.compile(r"[^A-Za-z0-9]+")
_LEAST_ROOM = 12
"""Characters that prefix and suffix must leave for a name to be readable; with less, a digest stands for the rest."""


def names_of(operations: Sequence[ApiOperation], context: ConversionContext) -> list[str]:
    """One name for each operation, in order: of its operationId, or else of its method and path. Several operations
    that want one name are told apart by words of their ids and paths, with a warning."""
    namer = _Namer(context.options)
    wishes = [namer.wish(operation) for operation in operations]
    names = _told_apart(operations, wishes, namer)
    for operation, name, wish in zip(operations, names, wishes, strict=True):
        if name != wish:
            context.report.warning(
                operation.place, f"the name {wish!r} fits several operations; this one is {name!r} (change operationId)"
            )
    return names


def earlier_names_of(operations: Sequence[ApiOperation], options: ConversionOptions) -> list[str]:
    """The names that earlier versions gave: cut with a digest, and numbered in the order of the document."""
    texts = [(options.use_operation_id and operation.operation_id) or path_name(operation) for operation in operations]
    return unique([tool_name(text, options.name_prefix, options.name_suffix) for text in texts])


def path_name(operation: ApiOperation) -> str:
    """`get_pets_petId` for GET /pets/{petId}; query and fragment of a path key are part of it."""
    words = [word for word in _WORDS.split(operation.path) if word]
    return "_".join([operation.method.lower(), *words])


def _told_apart(operations: Sequence[ApiOperation], wishes: Sequence[str], namer: "_Namer") -> list[str]:
    positions_by_wish: dict[str, list[int]] = defaultdict(list)
    for position, wish in enumerate(wishes):
        positions_by_wish[wish].append(position)
    names = list(wishes)
    taken = {wish for wish, positions in positions_by_wish.items() if len(positions) == 1}
    for _, positions in sorted(positions_by_wish.items()):
        if len(positions) == 1:
            continue
        positions.sort(key=lambda position: _rank(operations[position]))
        group = [operations[position] for position in positions]
        proposals = namer.proposals(group)
        apart = next((each for each in proposals if len(set(each)) == len(each) and taken.isdisjoint(each)), None)
        if apart is None:
            numbered = NumberedNames(NAME_LIMIT, [*taken, *wishes])
            apart = [numbered.next(wishes[position]) for position in positions]
        taken.update(apart)
        for position, name in zip(positions, apart, strict=True):
            names[position] = name
    return names


class _Namer:
    def __init__(self, options: ConversionOptions) -> None:
        self._options = options
        self._room = NAME_LIMIT - len(legal(options.name_prefix)) - len(legal(options.name_suffix))

    def wish(self, operation: ApiOperation) -> str:
        """The name that the operation has if no other wants it."""
        return self._name(self._text(operation))

    def proposals(self, group: Sequence[ApiOperation]) -> Iterator[list[str]]:
        """Names for operations that want the same one, the most readable first."""
        texts = [words_of(self._text(operation)) for operation in group]
        paths = [words_of(legal(path_name(operation))) for operation in group]
        yield self._by_what_differs(texts)
        common = _common(paths)
        own = [[Word(word.text, "_") for word in words if word.text.lower() not in common] for words in paths]
        by_path = self._by_what_differs([_with_new(text, words) for text, words in zip(texts, own, strict=True)])
        if all(
            text == texts[0] for text in texts
        ):  # an id that the document gives twice: the plainest operation has it
            yield [self.wish(group[0]), *by_path[1:]]
        yield by_path
        yield self._by_what_differs(paths)
        digests = [hashlib.sha256(each.place.encode("utf-8", "surrogatepass")).hexdigest()[:6] for each in group]
        yield self._by_what_differs([[*text, Word(digest, "_")] for text, digest in zip(texts, digests, strict=True)])

    def _by_what_differs(self, names: Sequence[list[Word]]) -> list[str]:
        common = _common(names)
        return [self._name(joined(words), words, _lower(words) - common) for words in names]

    def _text(self, operation: ApiOperation) -> str:
        identifier = operation.operation_id if self._options.use_operation_id else None
        if identifier is None or _loses_letters(identifier):
            identifier = path_name(operation)
        return legal(identifier).strip("_-")

    def _name(self, text: str, words: Sequence[Word] | None = None, decisive: Collection[str] = ()) -> str:
        if len(text) > self._room >= _LEAST_ROOM:
            text = fitted(words_of(text) if words is None else words, self._room, decisive)
        return tool_name(text, self._options.name_prefix, self._options.name_suffix)


def _rank(operation: ApiOperation) -> tuple[int, str, str]:
    return len(operation.path), operation.path, operation.method


def _with_new(words: Sequence[Word], further: Sequence[Word]) -> list[Word]:
    present = _lower(words)
    return [*words, *(word for word in further if word.text.lower() not in present)]


def _common(names: Sequence[Sequence[Word]]) -> set[str]:
    return set[str].intersection(*(_lower(words) for words in names))


def _lower(words: Sequence[Word]) -> set[str]:
    return {word.text.lower() for word in words}


def _loses_letters(text: str) -> bool:
    """True if letters have no ASCII form, so that a name made of the rest would mean something else."""
    return not text.isascii() and any(
        character.isalnum() and not character.isascii() for character in unicodedata.normalize("NFKD", text)
    )
