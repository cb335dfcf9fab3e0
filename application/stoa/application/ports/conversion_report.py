"""The conversion report: what became of each operation of an API description, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from stoa.application.ports.spec import TriedExample
from stoa.domain.access.identity import TenantId
from stoa.domain.finding import Finding

OperationOutcome = Literal["converted", "approximated", "left out"]


@dataclass(frozen=True, slots=True)
class OperationReport:
    """The conversion of one operation."""

    operation: str
    """As a person would look for it, `GET /pets/{id}`."""
    outcome: OperationOutcome
    """`approximated`: there is a tool, and not everything that the description says of it is honoured."""
    tool: str | None
    """The name of its tool; None: it is left out."""
    earlier_names: tuple[str, ...] = ()
    """Names that its tool had before a change of the converter."""
    reason: str = ""
    """Why it is left out."""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class ConversionReport:
    """The report of one conversion."""

    api: str
    """The name of the ToolSet or of the API."""
    tenant: TenantId | None
    location: str
    """Path or URL of the description."""
    operations: tuple[OperationReport, ...]
    findings: tuple[Finding, ...]
    """Findings about the document, its components, or several operations."""
    examples: tuple[TriedExample, ...] = ()

    @property
    def counts(self) -> Mapping[OperationOutcome, int]:
        """Operations by outcome."""
        counts: dict[OperationOutcome, int] = {"converted": 0, "approximated": 0, "left out": 0}
        for operation in self.operations:
            counts[operation.outcome] += 1
        return counts

    @property
    def renamed(self) -> Mapping[str, str]:
        """Present names by earlier ones."""
        return {
            earlier_name: operation.tool
            for operation in self.operations
            if operation.tool is not None
            for earlier_name in operation.earlier_names
        }

    @property
    def refused_examples(self) -> tuple[TriedExample, ...]:
        return tuple(example for example in self.examples if example.refusal is not None)

    @property
    def is_lossless(self) -> bool:
        """True if every operation became a tool and everything that the description says is honoured."""
        return not self.findings and all(operation.outcome == "converted" for operation in self.operations)
