"""Hearing what each manifest gave: the status of Kubernetes objects, metrics, reports."""

from abc import abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from stoa.application.ports.conversion_report import ConversionReport
from stoa.application.ports.tool_source import ManifestDocument
from stoa.domain.finding import Finding
from stoa.domain.operations.operation import Operation


@dataclass(frozen=True, slots=True)
class ManifestReport:
    """Result of one manifest at one load. Two equal reports mean that nothing changed for it."""

    document: ManifestDocument
    """As it stands there now; one that is gone from a file which keeps its last good version, as it stood last."""
    operations: tuple[Operation, ...]
    """Those in the catalogue. What was left out is among the findings."""
    findings: tuple[Finding, ...]
    """Those about this manifest or its whole file."""
    is_current: bool
    """False: `operations` come from an earlier version of the manifest or of its description, or there are none; the
    findings say why."""
    spec_hash: str | None = None
    """SHA-256 (hex) of the API description in use and its location; None: no description."""
    since: datetime | None = None
    """When `operations` were made, in UTC; None: nothing of this manifest was ever good."""
    conversion: ConversionReport | None = None
    """Conversion report of the description in use; None: no description."""


@dataclass(frozen=True, slots=True)
class CatalogueLoad:
    """One load of the whole catalogue."""

    at: datetime
    """When it was put in use, in UTC."""
    manifests: tuple[ManifestReport, ...]
    """One for each manifest that exists, in the order of their sources, then those that are gone and still in use."""
    findings: tuple[Finding, ...]
    """All findings, also those about no single manifest."""


class CatalogueObserver(Protocol):
    """Laws: told once after each load, when its catalogue is in use. A load that could not read every source is told
    to none: the catalogue stayed as it was. A manifest that is gone is in no report. Calls go on while it hears of
    thousands of manifests (`concurrency.pace.in_turns`); what it raises is logged and changes no catalogue."""

    @abstractmethod
    async def loaded(self, load: CatalogueLoad) -> None: ...
