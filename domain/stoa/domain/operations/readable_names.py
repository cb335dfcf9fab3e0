"""Names that must be cut stay readable: repeated and empty words go, long words are shortened, and only then are words
dropped, from the middle, because names begin with what is done and end with what tells them apart."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

_WORD = re.compile(r"(?P<gap>[_-]*)(?P<text>[vV][0-9]+|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+)")
_EMPTY_WORDS = frozenset(
    {"a", "an", "and", "api", "at", "by", "for", "from", "in", "of", "on", "or", "rest", "the", "to"}
)
_SHORT = 4
"""Characters that a word keeps while another can be shortened."""
_MOST_WORDS = 40


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    gap: str
    """The characters between the word before and this one."""

    @property
    def is_empty(self) -> bool:
        """True for a word that says nothing in a name."""
        return self.text.lower() in _EMPTY_WORDS

    def cut(self, length: int) -> "Word":
        return Word(self.text[:length], self.gap)


def words_of(name: str) -> list[Word]:
    """`list_petOwners` as list, pet, Owners, each with the gap before it, so that joined they are the name again."""
    return [Word(match["text"], match["gap"][:1]) for match in _WORD.finditer(name)]


def joined(words: Sequence[Word]) -> str:
    return "".join(f"{word.gap if position else ''}{word.text}" for position, word in enumerate(words))


def fitted(words: Sequence[Word], limit: int, decisive: Collection[str] = ()) -> str:
    """The words as one name of at most `limit` characters. `decisive`: words, in lower case, that tell the name from
    others; they are shortened and dropped last."""
    left = [word.cut(limit) for word in words]
    if len(left) > _MOST_WORDS:  # what is shortened letter by letter must not be a book
        left = [*left[: _MOST_WORDS // 2], *left[-_MOST_WORDS // 2 :]]
    if len(joined(left)) > limit:
        left = _without_repeats(left)
    for step in (_without_an_empty_word, _with_a_shorter_middle_word, _without_a_middle_word):
        while len(joined(left)) > limit and (fewer := step(left, decisive)) is not None:
            left = fewer
    for step in (_with_a_shorter_middle_word, _with_a_shorter_word, _without_a_middle_word):
        while len(joined(left)) > limit and (fewer := step(left, ())) is not None:
            left = fewer
    return joined(left)[:limit].rstrip("_-")


def _without_repeats(words: list[Word]) -> list[Word]:
    seen: set[str] = set()
    kept: list[Word] = []
    for word in words:
        if word.text.lower() not in seen:
            kept.append(word)
        seen.add(word.text.lower())
    return kept


def _without_an_empty_word(words: list[Word], decisive: Collection[str]) -> list[Word] | None:
    return _without(words, [at for at in range(1, len(words)) if words[at].is_empty and _is_free(words[at], decisive)])


def _without_a_middle_word(words: list[Word], decisive: Collection[str]) -> list[Word] | None:
    """Without the free word that is nearest to the middle, rather before than after it; the first and the last stay."""
    middle = (len(words) - 1) / 2
    free = [at for at in range(1, len(words) - 1) if _is_free(words[at], decisive)]
    return _without(words, sorted(free, key=lambda at: (abs(at - middle), at)))


def _with_a_shorter_middle_word(words: list[Word], decisive: Collection[str]) -> list[Word] | None:
    return _shorter(words, [at for at in range(1, len(words) - 1) if _is_free(words[at], decisive)])


def _with_a_shorter_word(words: list[Word], decisive: Collection[str]) -> list[Word] | None:
    return _shorter(words, [at for at in range(len(words)) if _is_free(words[at], decisive)])


def _shorter(words: list[Word], positions: Sequence[int]) -> list[Word] | None:
    """With one character less at the longest of these words; at the last of several."""
    long = [at for at in positions if len(words[at].text) > _SHORT]
    if not long:
        return None
    at = max(long, key=lambda position: (len(words[position].text), position))
    return [*words[:at], words[at].cut(len(words[at].text) - 1), *words[at + 1 :]]


def _without(words: list[Word], positions: Sequence[int]) -> list[Word] | None:
    return [*words[: positions[0]], *words[positions[0] + 1 :]] if positions else None


def _is_free(word: Word, decisive: Collection[str]) -> bool:
    return word.text.lower() not in decisive
