"""Parses text, JSON or YAML, into an OpenAPI document and checks that it is one."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stoa.application.ports import SpecDocument
from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject, is_object
from stoa.infrastructure.documents import DocumentProblem, RepeatedKey, read_value
from stoa.infrastructure.openapi.joined_files import join_files
from stoa.infrastructure.openapi.schema_resources import resolve_names


@dataclass(frozen=True, slots=True)
class ApiDocument:
    """A parsed description of a supported version."""

    location: str
    root: JsonObject
    """The document; of a description in several files also the others, below `joined_files.FILES`."""
    version: tuple[int, int]
    problems: Mapping[str, str] = field(default_factory=dict[str, str])
    """The files that could not be read, and the reasons."""
    text: str = ""
    repeated: Sequence[tuple[str, RepeatedKey]] = ()
    """Keys that occur twice in one object, with the name of the file: "" for the document itself."""

    @property
    def is_swagger(self) -> bool:
        """True for version 2.0, whose parameters, bodies and hosts differ."""
        return self.version[0] == 2

    @property
    def has_full_schemas(self) -> bool:
        """True for 3.1 and later: schemas are JSON Schema 2020-12, and siblings of a `$ref` count."""
        return self.version >= (3, 1)


def read_document(document: SpecDocument) -> ApiDocument:
    """Parses a document and identifies its version. Raises InvalidInput naming location, line and reason."""
    repeated: list[RepeatedKey] = []
    root = _parse(document, repeated)
    if not is_object(root):
        raise InvalidInput(f"{document.location}: line 1: not an OpenAPI document but {_kind(root)}")
    version = _version(document.location, root)
    if not is_object(root.get("paths")):
        problem = (
            "its `paths` is not an object" if "paths" in root else "it has no `paths`, so there is nothing to call"
        )
        raise InvalidInput(f"{document.location}: line {_line_of(document.text, 'paths')}: {problem}")
    all_repeated = [("", key) for key in repeated]
    if version[0] > 2:
        resolve_names(root, [document.text])  # before the files: a name is no file that is missing
    problems = join_files(root, document, all_repeated) if document.files else {}
    if document.files and version[0] > 2:
        resolve_names(root, [file.text for file in document.files])
    return ApiDocument(document.location, root, version, problems, document.text, all_repeated)


def _parse(document: SpecDocument, repeated: list[RepeatedKey]) -> Any:
    try:
        return read_value(document.text, repeated, has_written_numbers=True)  # `enum: [1.10]` may be text
    except DocumentProblem as problem:
        where = f"{document.location}: line {problem.line}"
        raise InvalidInput(f"{where}: not readable as {problem.language}: {problem.reason}") from problem


def _version(location: str, root: JsonObject) -> tuple[int, int]:
    for key in ("openapi", "swagger"):
        if key in root:
            match = re.match(r"(\d+)\.(\d+)", str(root[key]))
            version = (int(match[1]), int(match[2])) if match else (0, 0)
            if version == (2, 0) or version[0] == 3:
                return version
            raise InvalidInput(f"{location}: line 1: `{key}` is {str(root[key])[:20]!r}; versions 2.0 and 3.x are read")
    other = next((key for key in ("asyncapi", "arazzo", "swaggerVersion") if key in root), None)
    reason = f"this is {other}, not OpenAPI" if other else "neither `openapi` nor `swagger` is given"
    raise InvalidInput(f"{location}: line 1: not an OpenAPI document: {reason}")


def _kind(value: object) -> str:
    if value is None:
        return "empty"
    return "a list" if isinstance(value, list) else "a single value"


def _line_of(text: str, key: str) -> int:
    match = re.search(rf'^\s*["\']?{key}["\']?\s*:', text, re.MULTILINE)
    return text.count("\n", 0, match.start()) + 1 if match else 1
