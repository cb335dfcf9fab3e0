"""A JSON Schema as a document that refers to itself: resolves its references (2020-12 core section 8.2)."""

from typing import Any
from urllib.parse import urldefrag, urljoin

from pydantic_core import to_json

from stoa.domain.schema.json_pointer import ABSENT, resolve, tokens_of_fragment
from stoa.domain.schema.json_value import JsonObject, is_array, is_object
from stoa.domain.schema.subschemas import is_schema


class SchemaDocument:
    """Resolves references that are JSON Pointers, to the root or to an embedded resource (`$id`).

    Anchors and dynamic references are not followed: users of this class treat an unresolved reference as the worst
    case.
    """

    def __init__(self, root: JsonObject) -> None:
        self.root = root
        self._bases: dict[int, str] = {}
        """The base URI of each object below an `$id`, by its identity: references are relative to the nearest one."""
        self._resources: dict[str, JsonObject] = {"": root}
        self._targets: dict[str, Any] = {}
        """Values by reference, where all objects have the same base."""
        name = "id" if "draft-04" in str(root.get("$schema")) else "$id"
        if not _may_have(root, name):
            return
        waiting: list[tuple[Any, str]] = [(root, "")]
        while waiting:
            node, base = waiting.pop()
            if is_array(node):
                waiting += [(entry, base) for entry in node]
            elif is_object(node):
                own = node.get(name)
                if isinstance(own, str) and not own.startswith("#"):
                    base = urldefrag(urljoin(base, own)).url
                    self._resources[base] = node
                if base:
                    self._bases[id(node)] = base
                waiting += [(member, base) for member in node.values()]

    def path(self, schema: JsonObject, reference: str) -> tuple[JsonObject, list[str]] | None:
        """The resource that a reference in `schema` names, and the tokens of its pointer; None if it is not a pointer
        into this document."""
        base, fragment = urldefrag(urljoin(self._bases.get(id(schema), ""), reference))
        resource = self._resources.get(base)
        if resource is None or (fragment and not fragment.startswith("/")):
            return None
        return resource, tokens_of_fragment(fragment)

    def target(self, schema: JsonObject, reference: str) -> Any:
        """The value that a reference in `schema` leads to; None if this document has no such value."""
        if reference in self._targets:
            return self._targets[reference]
        path = self.path(schema, reference)
        target = ABSENT if path is None else resolve(*path)
        target = None if target is ABSENT else target
        if not self._bases:
            self._targets[reference] = target
        return target

    def referred(self, schema: JsonObject) -> JsonObject | bool | None:
        """The schema that `$ref` of `schema` leads to; None if there is no `$ref` or it cannot be resolved."""
        reference = schema.get("$ref")
        target = self.target(schema, reference) if isinstance(reference, str) else None
        return target if is_schema(target) else None


def _may_have(root: JsonObject, name: str) -> bool:
    """False if no object in it has a member of this name: looking through the text takes a tenth of the time."""
    try:
        return f'"{name}"'.encode() in to_json(root)
    except ValueError:  # no JSON, or nested too deeply
        return True
