"""Makes one document of a description in several files: each file becomes a member of the document, and references
between files become references within it."""

from pathlib import PurePosixPath
from typing import Any

from stoa.application.ports import SpecDocument
from stoa.domain.schema.json_pointer import escape, tokens_of_fragment
from stoa.domain.schema.json_value import JsonObject, as_object, is_object, objects_in
from stoa.infrastructure.documents import DocumentProblem, RepeatedKey, read_value
from stoa.infrastructure.openapi.files import named_file

FILES = "x-stoa-files"
"""The member that holds the other files, by name."""
_PREFIX = f"#/{FILES}/"


def join_files(root: JsonObject, document: SpecDocument, repeated: list[tuple[str, RepeatedKey]]) -> dict[str, str]:
    """Adds the files of `document` to `root`, its own content, and the keys that occur twice in them to `repeated`.
    Returns the problems of the files that cannot be used, by name."""
    problems: dict[str, str] = {}
    contents: JsonObject = {}
    for file in document.files:
        if file.problem:
            problems[file.name] = file.problem
            continue
        twice: list[RepeatedKey] = []
        try:
            contents[file.name] = read_value(file.text, twice, has_written_numbers=True)
            repeated += [(file.name, key) for key in twice]
        except DocumentProblem as problem:
            problems[file.name] = f"line {problem.line}: not readable as {problem.language}: {problem.reason}"
    folder = document.location.rpartition("/")[0] if document.location.startswith(("http://", "https://")) else ""
    rewriter = _Rewriter(document.name, folder, root, contents, frozenset(problems))
    rewriter.rewrite(document.name, root)
    for name, content in contents.items():
        rewriter.rewrite(name, content)
    root[FILES] = contents
    return problems


def shown_pointer(reference: str) -> str:
    """A reference as the author of the files knows it: `paths/pets.yaml#/get` for one into a file."""
    if not reference.startswith(_PREFIX):
        return reference
    name, separator, rest = reference.removeprefix(_PREFIX).partition("/")
    return f"{name.replace('~1', '/').replace('~0', '~')}{'#/' if separator else ''}{rest}"


def own_name(pointer: str) -> str:
    """The name of a component: the last token of its pointer, of a whole file its name without the extension."""
    last = pointer.rpartition("/")[2]
    is_file = pointer.startswith(_PREFIX) and "/" not in pointer.removeprefix(_PREFIX)
    return PurePosixPath(last.replace("~1", "/").replace("~0", "~")).stem if is_file else last


class _Rewriter:
    def __init__(
        self, main: str, folder_url: str, root: JsonObject, contents: JsonObject, unusable: frozenset[str]
    ) -> None:
        self._main = main
        self._folder_url = folder_url
        self._root = root
        self._contents = contents
        self._unusable = unusable

    def rewrite(self, within: str, content: Any) -> None:
        """Rewrites the references in one file, in place."""
        for node in objects_in(content):
            reference = node.get("$ref")
            if isinstance(reference, str):
                node["$ref"] = self._internal(reference, within)
            mapping = as_object(as_object(node.get("discriminator")).get("mapping"))
            for value, target in mapping.items():
                if isinstance(target, str) and ("/" in target or "." in target):
                    mapping[value] = self._internal(target, within)

    def _internal(self, reference: str, within: str) -> str:
        """The reference within the joined document; unchanged if it leads to no file that is there."""
        file, _, fragment = reference.partition("#")
        name = named_file(file, within, self._folder_url) if file else within
        if name == self._main:
            return f"#{fragment}"
        if name is None or not (name in self._contents or name in self._unusable):
            return reference
        if not file and not self._is_in(self._contents[name], fragment) and self._is_in(self._root, fragment):
            return reference  # authors of fragments often write references as if they stood in the document
        return f"{_PREFIX}{escape(name)}{fragment if fragment.startswith('/') and fragment != '/' else ''}"

    @staticmethod
    def _is_in(content: Any, fragment: str) -> bool:
        tokens = tokens_of_fragment(fragment)
        return not tokens or (is_object(content) and tokens[0] in content)
