"""`$ref` within one document, whose other files are part of it (`joined_files`). Nothing is fetched here: a reference
to anything else is reported as unresolvable."""

from typing import Any
from urllib.parse import unquote

from stoa.domain.schema.json_pointer import ABSENT, child, tokens_of, tokens_of_fragment, unescape
from stoa.domain.schema.json_value import JsonObject, is_object
from stoa.infrastructure.openapi.document import ApiDocument
from stoa.infrastructure.openapi.joined_files import FILES, shown_pointer

_CHAIN_LIMIT = 50


class Unresolvable(Exception):
    """A reference leads nowhere; the text says why and what to do."""


class References:
    def __init__(self, document: ApiDocument) -> None:
        self._root = document.root
        self._problems = document.problems
        self._sought: set[str] = set()
        """References that are being resolved, to notice one that needs itself."""
        self._own_names = {"", document.location, document.location.replace("\\", "/").rpartition("/")[2]}
        self._only_reference_counts = not document.has_full_schemas
        self._targets: dict[str, Any] = {}
        self._ends: dict[str, str] = {}

    def follow(self, node: Any) -> JsonObject:
        """The object that `node` is, or finally refers to. Raises Unresolvable."""
        target = self.value(node)
        if not is_object(target):
            raise Unresolvable("an object is needed here")
        return target

    def end_of(self, reference: str) -> str:
        """The last reference of a chain of objects that only refer on. Raises Unresolvable."""
        cached = self._ends.get(reference)
        if cached is not None:
            return cached
        current = reference
        for _ in range(_CHAIN_LIMIT):
            node = self.target(current)
            if not (is_object(node) and isinstance(node.get("$ref"), str)):
                break
            if len(node) > 1 and not self._only_reference_counts:
                break
            current = node["$ref"]
        else:
            raise Unresolvable(f"$ref {_shown(reference)} leads in a circle")
        self._ends[reference] = current
        return current

    def target(self, reference: str) -> Any:
        """The value that the reference points at. Raises Unresolvable."""
        if reference not in self._targets:
            if reference in self._sought:
                raise Unresolvable(f"$ref {_shown(reference)} leads in a circle")
            self._sought.add(reference)
            try:
                self._targets[reference] = self._find(reference)
            finally:
                self._sought.discard(reference)
        return self._targets[reference]

    def value(self, node: Any) -> Any:
        """The value, of any type, that `node` is or finally refers to. Raises Unresolvable."""
        if is_object(node) and isinstance(node.get("$ref"), str):
            return self.target(self.end_of(node["$ref"]))
        return node

    def _find(self, reference: str) -> Any:
        file, _, fragment = reference.partition("#")
        if file.removeprefix("./") not in self._own_names:
            remedy = "put the file into the document's folder, or bundle the files into one"
            raise Unresolvable(f"$ref {_shown(reference)} is outside this document; {remedy}")
        if fragment in {"", "/"}:
            return self._root
        if not fragment.startswith("/"):
            raise Unresolvable(f"$ref {_shown(reference)} is not a JSON Pointer (#/components/...)")
        # RFC 6901 section 6 decodes before splitting; some tools write the other order, some do not encode at all
        for tokens in (
            tokens_of_fragment(fragment),
            [unescape(unquote(token)) for token in fragment.split("/")[1:]],
            tokens_of(fragment),
        ):
            target = self._at(tokens)
            if target is not ABSENT:
                return target
        tokens = tokens_of_fragment(fragment)
        if tokens[0] == FILES and tokens[1] in self._problems:
            raise Unresolvable(f"$ref {_shown(reference)} cannot be used: {self._problems[tokens[1]]}")
        raise Unresolvable(f"$ref {_shown(reference)} points at nothing in this document")

    def _at(self, tokens: list[str]) -> Any:
        """The value at the end of a path; objects on the way that only refer on are followed."""
        node: Any = self._root
        for token in tokens:
            below = child(node, token)
            if below is ABSENT and is_object(node) and "$ref" in node:
                below = child(self.value(node), token)
            if below is ABSENT:
                return ABSENT
            node = below
        return node


def _shown(reference: str) -> str:
    return repr(shown_pointer(reference)[:120])
