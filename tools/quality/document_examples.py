"""Counts the request examples of API descriptions that their tools accept.

`python -m tools.quality.document_examples PATH...`. An example is a value that the description's own author wrote for a
parameter or a request body (`infrastructure.openapi.examples`).
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stoa.application.ports import ConversionOptions, SpecDocument
from stoa.application.ports.spec import TriedExample
from stoa.domain.errors import InvalidInput
from stoa.infrastructure.openapi import OpenApiConverter

_OPTIONS = ConversionOptions(base_url="https://api.example.com", tries_examples=True)


@dataclass(slots=True)
class ExampleReport:
    """Examples by document, and those that were refused."""

    tried: Counter[str] = field(default_factory=Counter[str])
    accepted: Counter[str] = field(default_factory=Counter[str])
    refused: list[tuple[str, TriedExample]] = field(default_factory=list[tuple[str, TriedExample]])
    """With their documents."""

    def add(self, document: str, example: TriedExample) -> None:
        self.tried[document] += 1
        if example.refusal is None:
            self.accepted[document] += 1
        else:
            self.refused.append((document, example))


def count(paths: Iterable[Path]) -> ExampleReport:
    """The examples of these OpenAPI documents. Files that are none are left out."""
    report = ExampleReport()
    for path in paths:
        try:
            conversion = OpenApiConverter().convert(SpecDocument(str(path), path.read_text("utf-8")), _OPTIONS)
        except InvalidInput:
            continue
        for example in conversion.examples:
            report.add(str(path), example)
    return report


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
        for document, refused in report.refused:
            print(f"{document} | {refused.operation} | {refused.example} | {refused.refusal}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
