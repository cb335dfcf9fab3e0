"""`$ref` within one document. Nothing is ever fetched: a reference out of the document is reported as unresolvable."""

from typing import Any
from urllib.parse import unquote

from stoa.domain.schema.json_pointer import ABSENT, resolve, tokens_of, tokens_of_fragment, unescape
from stoa.domain.schema.json_value import JsonObject, is_object
from stoa.infrastructure.openapi.document import ApiDocument

_CHAIN_LIMIT = 50


class Unresolvable(Exception):
    """A reference leads nowhere; the text says why and what to do."""


class References:
    def __init__(self, document: ApiDocument) -> None:
        self._root = document.root
        self._own_names = {"", document.location, document.location.replace("\\", "/").rpartition("/")[2]}
        self._only_reference_counts = not document.has_full_schemas
        self._targets: dict[str, Any] = {}
        self._ends: dict[str, str] = {}

    def follow(self, node: Any) -> JsonObject:
        """The object that `node` is, or finally refers to. Raises Unresolvable."""
        if is_object(node) and isinstance(node.get("$ref"), str):
            node = self.target(self.end_of(node["$ref"]))
        if not is_object(node):
            raise Unresolvable("an object is needed here")
        return node

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
            self._targets[reference] = self._find(reference)
        return self._targets[reference]

    def _find(self, reference: str) -> Any:
        file, _, fragment = reference.partition("#")
        if file.removeprefix("./") not in self._own_names:
            raise Unresolvable(f"$ref {_shown(reference)} is outside this document; bundle the files into one")
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
            target = resolve(self._root, tokens)
            if target is not ABSENT:
                return target
        raise Unresolvable(f"$ref {_shown(reference)} points at nothing in this document")


def _shown(reference: str) -> str:
    return repr(reference[:120])
