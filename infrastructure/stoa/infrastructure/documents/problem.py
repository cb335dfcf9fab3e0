"""The error for a document that cannot be read."""

from typing import Literal


class DocumentProblem(ValueError):
    """The text is not usable, or exceeds a limit; `line` and `column` count from 1."""

    def __init__(self, reason: str, line: int, *, column: int | None = None, language: Literal["YAML", "JSON"]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column
        self.language = language

    def __str__(self) -> str:
        column = "" if self.column is None else f" column {self.column}"
        return f"line {self.line}{column}: {self.reason}"
