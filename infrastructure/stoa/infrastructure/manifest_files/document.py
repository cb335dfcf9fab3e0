"""One manifest from a file of its own, read once; numbers come as they are written, for amounts that must be exact."""

import json
from pathlib import Path
from typing import Any

import pydantic_core
import yaml

from stoa.domain.errors import InvalidInput
from stoa.domain.json_value import JsonObject, is_object
from stoa.infrastructure.manifest_files.parsing import SIZE_LIMIT, Loader, load_all, reason

DEFAULT_PRICES_FILE = Path(__file__).with_name("default_prices.yaml")
"""The price list that ships."""

_KEPT = {"tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"}


class _LiteralLoader(Loader):  # type: ignore[misc]
    """A safe loader to which every scalar but null is text: YAML would read 0.1 as a float, 010 as 8 and 1:30 as 90. A
    field that occurs twice is refused; YAML would take the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key.value, str) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    problem = f"the field {key.value[:40]} occurs twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return Loader.construct_mapping(self, node, deep)


_LiteralLoader.yaml_implicit_resolvers = {
    first: [resolver for resolver in resolvers if resolver[0] in _KEPT]
    for first, resolvers in Loader.yaml_implicit_resolvers.items()
}


def read_document(path: Path) -> JsonObject:
    """The only document of a YAML or JSON file. Raises InvalidInput that names the file."""
    try:
        with path.open("rb") as file:
            text = file.read(SIZE_LIMIT + 1)
        if len(text) > SIZE_LIMIT:
            raise InvalidInput(f"{path}: larger than {SIZE_LIMIT} bytes")
        contents = _parse(text, is_json=path.suffix.lower() == ".json")
    except OSError as caught:
        raise InvalidInput(f"{path}: cannot be read: {caught.strerror}") from caught
    except (yaml.YAMLError, ValueError, RecursionError) as caught:
        raise InvalidInput(f"{path}: {reason(caught)}") from caught
    if len(contents) != 1 or not is_object(contents[0]):
        raise InvalidInput(f"{path}: expected one document, a mapping with apiVersion, kind, metadata and spec")
    return contents[0]


def _parse(text: bytes, *, is_json: bool) -> list[Any]:
    """Raises yaml.YAMLError or ValueError."""
    if is_json:
        pydantic_core.from_json(text, allow_inf_nan=False)  # refuses what json lets pass, and names the line
        return [json.loads(text, parse_float=str, parse_int=str, object_pairs_hook=_unique)]
    return load_all(text, _LiteralLoader)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice = next(name for name in fields if sum(name == other for other, _ in pairs) > 1)
        raise ValueError(f"the field {twice[:40]} occurs twice")
    return fields
