"""Reads one manifest from a file of its own. Numbers stay as they are written, because amounts must be exact."""

import json
from pathlib import Path
from typing import Any

from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject, is_object
from stoa.infrastructure.documents import DocumentProblem, parse_yaml_all, read_json
from stoa.infrastructure.files.manifests.reading import SIZE_LIMIT

DEFAULT_PRICES_FILE = Path(__file__).with_name("default_prices.yaml")
"""The price list that ships with the gateway."""


def read_document(path: Path) -> JsonObject:
    """Reads the only document of a YAML or JSON file. Raises InvalidInput that names the file."""
    try:
        with path.open("rb") as file:
            text = file.read(SIZE_LIMIT + 1)
        if len(text) > SIZE_LIMIT:
            raise InvalidInput(f"{path}: larger than {SIZE_LIMIT} bytes")
        contents = _parse(text.decode("utf-8-sig"), is_json=path.suffix.lower() == ".json")
    except OSError as caught:
        raise InvalidInput(f"{path}: cannot be read: {caught.strerror}") from caught
    except UnicodeDecodeError:
        raise InvalidInput(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    except DocumentProblem as problem:
        raise InvalidInput(f"{path}: {problem}") from problem
    if len(contents) != 1 or not is_object(contents[0]):
        raise InvalidInput(f"{path}: expected one document, a mapping with apiVersion, kind, metadata and spec")
    return contents[0]


def _parse(text: str, *, is_json: bool) -> list[Any]:
    """Raises DocumentProblem."""
    if not is_json:
        return [content for content in parse_yaml_all(text, is_literal=True) if content is not None]
    read_json(text)  # refuses text that json accepts, and names the line
    return [json.loads(text, parse_float=str, parse_int=str, object_pairs_hook=_unique)]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise DocumentProblem(f"the field {name[:40]} occurs twice", 1, language="JSON")
        fields[name] = value
    return fields
