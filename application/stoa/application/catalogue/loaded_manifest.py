"""The last good result of a manifest, and the report that observers get of it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from stoa.application.catalogue.held_changes import PendingChanges
from stoa.application.manifests.parse import ToolSetManifest
from stoa.application.ports.catalogue_observer import ManifestReport
from stoa.application.ports.conversion_report import ConversionReport
from stoa.application.ports.tool_source import ManifestDocument
from stoa.domain.finding import Finding
from stoa.domain.operations.catalogue import Catalogue
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.tool_changes import ToolChange
from stoa.domain.origin import Origin


@dataclass(frozen=True, slots=True)
class LoadedManifest:
    """The result of a manifest when it was last good."""

    document: ManifestDocument
    operations: tuple[Operation, ...]
    findings: tuple[Finding, ...]
    since: datetime
    """When the operations were made."""
    refresh_at_ns: int | None = None
    """When its description is fetched again; None: whenever the catalogue is refreshed."""
    outage: tuple[Finding, ...] = ()
    """Why it could not be fetched again the last time."""
    manifest: ToolSetManifest | None = None
    """The ToolSet, where its description is a document apart that may change by itself; None for any other manifest."""
    digest: str = ""
    """SHA-256 of the description it was converted from; an unchanged one is not converted again."""
    version: str = ""
    """The version of that description at its location, as its source names it; empty: not known."""
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    """The versions of all documents that it was made from, by location; those that are not known are empty."""
    url: str | None = None
    """Where its description was fetched from, if that decides where calls go; None: the manifest does."""
    origins: frozenset[str] = frozenset()
    """Where such a description sends calls, or would."""
    changes: tuple[ToolChange, ...] = ()
    """Changes that the last new version of its description brought."""
    pending: PendingChanges | None = None
    """A newer version of its description that is held back."""
    conversion: ConversionReport | None = None
    """Conversion report of its description; None: it has none."""

    def put_off(self, not_before_ns: int) -> "LoadedManifest":
        """The same, due later: what cannot be renewed now must not be tried without pause."""
        return replace(self, refresh_at_ns=max(self.refresh_at_ns or 0, not_before_ns))


def reports_of(
    present: Sequence[ManifestDocument],
    good: Mapping[Origin, LoadedManifest],
    findings: Sequence[Finding],
    catalogue: Catalogue,
) -> Iterator[ManifestReport]:
    """A report for each manifest in `present`, then for those that are gone from a file that keeps its last good
    version. `catalogue` was built from the operations in `good`."""
    by_origin: defaultdict[Origin | None, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_origin[finding.origin].append(finding)
    there = {document.origin for document in present}
    gone = (loaded.document for origin, loaded in good.items() if origin not in there)
    for document in (*present, *gone):
        origin, loaded = document.origin, good.get(document.origin)
        about = by_origin[origin] if origin == origin.whole else by_origin[origin] + by_origin[origin.whole]
        if loaded is None:
            yield ManifestReport(document, (), tuple(about), is_current=False)
            continue
        used = tuple(one for one in loaded.operations if catalogue.operations.get(one.key) is one)
        if len(used) == len(loaded.operations):
            used = loaded.operations  # the same object at each load, by which observers see that nothing changed
        is_current = origin in there and loaded.document == document and not loaded.outage
        yield ManifestReport(
            document, used, tuple(about), is_current, loaded.digest or None, loaded.since, loaded.conversion
        )
