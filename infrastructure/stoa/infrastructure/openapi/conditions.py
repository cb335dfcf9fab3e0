"""Conditions between the members of a body, in a sentence for the model: as arguments of their own, nothing but words
can state them for every client."""

from collections.abc import Mapping

from stoa.domain.schema.condition_words import condition_words, together
from stoa.domain.schema.json_value import as_array, as_object, texts_in
from stoa.infrastructure.openapi.object_members import ObjectMembers

_LENGTH = 300


def condition_sentence(members: ObjectMembers, keys: Mapping[str, str]) -> str:
    """The sentence, such as `Give a or b.`; "" for none. `keys`: the argument of each member."""
    words: list[str] = []
    for condition in members.conditions:
        for keyword in ("anyOf", "oneOf"):
            names = [texts_in(as_object(branch).get("required")) for branch in as_array(condition.get(keyword))]
            words += together(
                [keys.get(name, name) for name in branch if name not in members.required] for branch in names
            )
        dependent = {
            keys.get(name, name): [
                keys.get(needed, needed) for needed in texts_in(others) if needed not in members.required
            ]
            for name, others in as_object(condition.get("dependentRequired")).items()
        }
        words += condition_words({"dependentRequired": dependent})
        for keyword, start in (("minProperties", "give at least"), ("maxProperties", "give at most")):
            count = condition.get(keyword)
            if isinstance(count, int) and count > len(members.required) * (keyword == "minProperties"):
                words.append(f"{start} {count} of the members of the body")
    text = "; ".join(dict.fromkeys(words))
    return f"{text[0].upper()}{text[1:]}." if 0 < len(text) <= _LENGTH else ""
