"""Counts the request examples of API descriptions that their tools accept.

`python -m tools.quality.document_examples PATH...`. An example is a value that the description's own author wrote for a
parameter or a request body. It is normalised and checked as the arguments of a call are; what another part of the
request needs is not asked for.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from stoa.application.ports import ConversionOptions, SpecDocument
from stoa.application.schemas.argument_schema import ArgumentSchema
from stoa.domain.errors import InvalidArguments, InvalidInput
from stoa.domain.operations.tool import RestBinding, Tool
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, is_object
from stoa.infrastructure.openapi import OpenApiConverter
from stoa.infrastructure.openapi.conversion_context import ConversionContext
from stoa.infrastructure.openapi.document import read_document
from stoa.infrastructure.openapi.parameters import raw_parameters
from stoa.infrastructure.openapi.paths import ApiOperation, operations_of
from stoa.infrastructure.openapi.references import Unresolvable
from stoa.infrastructure.openapi.values import plain

_OPTIONS = ConversionOptions(base_url="https://api.example.com")


class Refused(NamedTuple):
    document: str
    operation: str
    pointer: str
    """Which example: a parameter, or a member of `requestBody`."""
    reason: str


@dataclass(slots=True)
class ExampleReport:
    """Examples by document, and those that were refused."""

    tried: Counter[str] = field(default_factory=Counter[str])
    accepted: Counter[str] = field(default_factory=Counter[str])
    refused: list[Refused] = field(default_factory=list[Refused])

    def add(self, document: str, operation: str, pointer: str, reason: str | None) -> None:
        """Count one example. `reason`: why it was refused; None: accepted."""
        self.tried[document] += 1
        if reason is None:
            self.accepted[document] += 1
        else:
            self.refused.append(Refused(document, operation, pointer, reason))


def count(paths: Iterable[Path]) -> ExampleReport:
    """The examples of these OpenAPI documents. Files that are none are left out."""
    report = ExampleReport()
    for path in paths:
        try:
            _count_document(SpecDocument(str(path), path.read_text("utf-8")), report)
        except InvalidInput:
            continue
    return report


def _count_document(document: SpecDocument, report: ExampleReport) -> None:
    context = ConversionContext(read_document(document), _OPTIONS)
    tools: dict[Any, Tool] = {}
    for tool in OpenApiConverter().convert(document, _OPTIONS).tools:
        tools[_key(tool)] = tools[tool.api and tool.api.operation_id] = tool
    for operation in operations_of(context.document, context.references, context.report):
        tool = tools.get(operation.operation_id or (operation.method, operation.path.partition("?")[0]))
        if tool is not None:
            examples = _Examples(operation, context)
            for pointer, arguments in examples.arguments(tool):
                report.add(document.location, operation.place, pointer, _refusal(tool, arguments))


def _key(tool: Tool) -> tuple[str, str]:
    binding = tool.binding
    return (binding.method, binding.path) if isinstance(binding, RestBinding) else ("", "")


def _refusal(tool: Tool, arguments: JsonObject) -> str | None:
    """Why the tool refuses these arguments, those that are missing apart; None: it does not."""
    present = [name for name in as_array(tool.input_schema.get("required")) if name in arguments]
    schema = ArgumentSchema(
        {**tool.input_schema, "required": present},
        validation=tool.validation,
        takes_others=tool.binding.takes_others,
    )
    try:
        schema.check(schema.normalise(arguments))
    except InvalidArguments as refused:
        return str(refused.violations[0]) if refused.violations else refused.message
    return None


class _Examples:
    """The examples of one operation."""

    def __init__(self, operation: ApiOperation, context: ConversionContext) -> None:
        self._operation = operation
        self._context = context

    def arguments(self, tool: Tool) -> Iterator[tuple[str, JsonObject]]:
        """A pointer for each example, and the arguments that carry it."""
        binding = tool.binding
        if not isinstance(binding, RestBinding):
            return
        raw = raw_parameters(self._operation, self._context)
        keys = {(bound.name, bound.location): bound.argument for bound in binding.parameters}
        for (name, place), parameter in raw.items():
            key = keys.get((name, place))  # type: ignore[call-overload]  # other places have no bound parameter
            if key is not None:
                for member, value in self._values(parameter):
                    yield f"{place} parameter {name} {member}", {key: plain(value)}
        if binding.body is None:
            return
        for pointer, written in self._bodies(raw, binding.body.media_type):
            value = plain(written)
            if binding.body.argument is not None:
                yield pointer, {binding.body.argument: value}
            elif is_object(value):
                names = {member: key for key, member in (binding.body.fields or {}).items()}
                yield pointer, {names.get(member, member): inner for member, inner in value.items()}

    def _bodies(self, raw: dict[tuple[str, str], JsonObject], sent: str) -> Iterator[tuple[str, Any]]:
        whole = next((parameter for (_, place), parameter in raw.items() if place == "body"), None)
        if whole is not None:
            yield from self._values(whole)
            return
        try:
            body = self._context.references.follow(self._operation.content.get("requestBody"))
            media = as_object(body.get("content")).get(sent)
            for member, value in self._values(self._context.references.follow(media)):
                yield f"requestBody {sent} {member}", value
        except Unresolvable:
            return

    def _values(self, described: JsonObject) -> Iterator[tuple[str, Any]]:
        """The examples of a Parameter or Media Type Object, and of its schema where it has none itself."""
        if "example" in described:
            yield "example", described["example"]
            return
        named = as_object(described.get("examples"))
        for name, written in named.items():
            try:
                example = self._context.references.follow(written)
            except Unresolvable:
                continue
            if "value" in example or "dataValue" in example:
                yield f"examples/{name}", example.get("value", example.get("dataValue"))
        if named:
            return
        try:
            schema = self._context.references.follow(described.get("schema"))
        except Unresolvable:
            return
        if "example" in schema:
            yield "schema/example", schema["example"]
        for position, value in enumerate(as_array(schema.get("examples"))):
            yield f"schema/examples/{position}", value


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="How many request examples do the tools of a description accept?")
    parser.add_argument("paths", nargs="+", type=Path, help="OpenAPI documents, or folders of them")
    parser.add_argument("--refused", action="store_true", help="list the refused examples too")
    chosen = parser.parse_args(arguments)
    files = [
        file
        for path in chosen.paths
        for file in (sorted(path.rglob("*")) if path.is_dir() else [path])
        if file.suffix in {".json", ".yaml", ".yml"}
    ]
    report = count(files)
    for document, tried in report.tried.items():
        print(f"{report.accepted[document]:6} of {tried:6}  {document}")
    print(f"{report.accepted.total():6} of {report.tried.total():6}  in all")
    if chosen.refused:
        for refused in report.refused:
            print(" | ".join(refused))
    return 0


if __name__ == "__main__":
    sys.exit(main())
