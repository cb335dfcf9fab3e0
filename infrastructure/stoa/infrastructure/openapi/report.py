"""Collects findings of one conversion. A problem of a shared component is reported once, however many operations use
it."""

from stoa.domain.finding import Finding, Severity


class Report:
    def __init__(self, location: str) -> None:
        self._location = location
        self._findings: dict[Finding, None] = {}

    def error(self, place: str, message: str) -> None:
        self._add(Severity.ERROR, place, message)

    def warning(self, place: str, message: str) -> None:
        self._add(Severity.WARNING, place, message)

    def _add(self, severity: Severity, place: str, message: str) -> None:
        where = f"{self._location} {place}" if place else self._location
        self._findings[Finding(severity=severity, where=where, message=message)] = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(self._findings)
