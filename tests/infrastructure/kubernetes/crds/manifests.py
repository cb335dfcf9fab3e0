"""Manifests for a definition: most are near the border between what is accepted and what is refused."""

import re
from typing import Any

from hypothesis import strategies as st
from tests.infrastructure.kubernetes.crds.api_server import in_python, schema_of

from stoa.infrastructure.kubernetes.crds.structural_schema import ANYTHING, RULES

_ODD = ["", " ", "a b", "{x}", "é", "a\nb", "null", "0", "-", "/", "http://", "{", "}"]
_SCHEMES, _ODD_SCHEMES = ["http", "https"], ["ftp", "HTTP", ""]
_HOSTS = ["h", "api.example.com", "127.0.0.1:80", "h:65535", "[::1]", "[::1]:8", "u:p@h"]
_ODD_HOSTS = ["h:65536", "h:x", "{x}", "", "[", "h h", "a]"]
_PATHS = ["", "/", "/a/{x}", "/{x}/{y}", "/{}", "/a{x}b{x}", "/%2e/{id}", "/a b", "?q=1", "/#f", "/?a=b#c"]
_TEXTS: dict[str, tuple[list[Any], list[Any]]] = {
    "uri": (
        ["memo://a", "file:///a.md", "a:b"],
        ["memo://{x}", "memo://{", "stoa://a", "STOA:b", "a", "memo://a b", "memo://}{"],
    ),
    "uriTemplate": (
        ["memo://{x}", "memo://{x}/{y}", "file:///{id}.md"],
        ["memo://{x}{y}", "memo://{x}/{x}", "memo://a", "memo://{+x}", "memo://{1}", "sToA:{x}", "memo:{x"],
    ),
    "tokenUrl": (["https://i/t", "http://i:80/a?b=c"], ["https://i/../t", "http://u@h/t", "https://i/t#f", "x", "https://i:0/t"]),
    "src": (
        ["https://h/i.png", "HTTPS://h", "data:image/png;base64,AA=="],
        ["http://h/i.png", "data:text/plain,a", "https://u@h/", "https:///a", "data:image/png"],
    ),
    "blob": (["", "AA==", "AAA=", "AAAA"], ["A", "A===", "AA", "é", "AA==AA==", "AAAA="]),
    "data": (["", "AA=="], ["A"]),
    "document": (["{ a }", "query Q($x: Int) { a }"], ["{"]),
}  # fmt: skip
_INPUT_SCHEMAS: list[Any] = [
    {},
    {"type": "object"},
    {"properties": {"x": {"type": "string"}, "y": {}, "id": True}, "required": ["x", "y", "id"]},
    {"properties": {"x": {}}, "required": ["x"], "additionalProperties": False},
    {"required": []},
]
_ODD_INPUT_SCHEMAS: list[Any] = [
    {"type": "array"}, {"properties": {"x": {}}}, {"required": "x"}, {"properties": []}, {"properties": {"x": 1}}, []
]  # fmt: skip


def manifests(definition: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Manifests of the kind of the definition, in one namespace."""
    names = definition["spec"]["names"]
    return st.builds(
        lambda spec, name: {
            "apiVersion": "gostoa.dev/v1alpha1",
            "kind": names["kind"],
            "metadata": {"name": name, "namespace": "tenant-acme"},
            "spec": spec,
        },
        st.booleans().flatmap(lambda is_odd: _Values(is_odd).of("spec", schema_of(definition)["properties"]["spec"])),
        st.sampled_from(["a", "pets", "a.b-c", "n" * 128, "n" * 129]),
    )


class _Values:
    """Values for structural schemas. `is_odd`: some of them break a rule."""

    def __init__(self, is_odd: bool) -> None:
        self._is_odd = is_odd

    def of(self, name: str, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        good = self._good(name, schema)
        return st.one_of(good, good, good, good, st.none()) if self._is_odd else good

    def _pick(self, good: list[Any], odd: list[Any]) -> st.SearchStrategy[Any]:
        return st.sampled_from([*good * 3, *odd] if self._is_odd else good)

    def _good(self, name: str, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        if name in {"inputSchema", "outputSchema"}:
            return self._pick(_INPUT_SCHEMAS, _ODD_INPUT_SCHEMAS)
        if "enum" in schema:
            return self._pick(schema["enum"], ["other"])
        match schema.get("type"):
            case "object":
                return self._objects(schema)
            case "array":
                least = schema.get("minItems", 0)
                return st.lists(self.of(name, schema["items"]), min_size=0 if self._is_odd else least, max_size=2)
            case "boolean":
                return st.booleans()
            case "integer" | "number":
                low, high = schema.get("minimum", 0), schema.get("maximum", 10)
                return self._pick([low + 1, high], [low - 1, low, high + 1])
            case "string":
                return self._strings(name, schema)
            case _:
                return self._pick([["a"], True], ["text"]) if name in {"queries", "mutations"} else st.just("text")

    def _strings(self, name: str, schema: dict[str, Any]) -> st.SearchStrategy[str]:
        if name in _TEXTS:
            return self._pick(*_TEXTS[name])
        if name in {"endpoint", "baseURL"}:
            parts = (self._pick(_SCHEMES, _ODD_SCHEMES), self._pick(_HOSTS, _ODD_HOSTS), self._pick(_PATHS, ["?q={x}"]))
            return st.builds("{}://{}{}".format, *parts)
        if "pattern" in schema:
            matching = st.from_regex(in_python(schema["pattern"]), fullmatch=True).filter(lambda text: len(text) < 60)
            return st.one_of(matching, matching, matching, st.sampled_from(_ODD)) if self._is_odd else matching
        return st.text(
            st.characters(min_codepoint=32, max_codepoint=126), min_size=schema.get("minLength", 0), max_size=12
        )

    def _objects(self, schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
        if "additionalProperties" in schema:
            keys = self._pick(["x", "y", "id", "a1", "_n"], _ODD)
            return st.dictionaries(keys, self.of("", schema["additionalProperties"]), max_size=2)
        properties = schema.get("properties", {})
        if schema.get(ANYTHING) and not properties:
            return st.just({})
        groups = [group for rule in schema.get(RULES, ()) if (group := _group(rule["rule"]))]
        groups += [{name for each in schema["oneOf"] for name in each["required"]}] if "oneOf" in schema else []

        @st.composite
        def draw(draw: st.DrawFn) -> dict[str, Any]:
            required = schema.get("required", ())
            chosen = {
                name
                for name in properties
                if name in required or draw(st.integers(0, 1 if name == "inputSchema" else 4)) == 0
            }
            for group in groups:
                chosen -= group
                chosen |= set(draw(st.permutations(sorted(group)))[: draw(self._pick([1], [0, 2]))])
            return {name: draw(self.of(name, properties[name])) for name in properties if name in chosen}

        return draw()


def _group(rule: str) -> set[str]:
    """The fields of which exactly one is set."""
    return set(re.findall(r"has\(self\.(\w+)\)", rule)) if rule.endswith("== 1") else set()
