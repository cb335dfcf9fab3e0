"""What is wrong with an input, where, and how to mend it; collected instead of raised so that one bad part
does not take the good ones with it."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from stoa.domain.origin import Origin


class Severity(StrEnum):
    ERROR = "error"
    """The part was left out."""
    WARNING = "warning"
    """The part is in, but not everything it says is honoured."""


class Finding(BaseModel):
    """One problem in a manifest or an API description."""

    model_config = ConfigDict(frozen=True)

    severity: Severity
    where: str
    """File and field, as a person would look for it: `pets.yaml#2 spec.timeout`, `GET /pets/{id}`."""
    message: str
    """What is wrong and what to write instead."""
    origin: Origin | None = None
    """The manifest that it is about, or the file where it is about all manifests of a file; None: about no single
    manifest."""

    def about(self, origin: Origin | None) -> "Finding":
        """The finding with this origin."""
        return self.model_copy(update={"origin": origin})

    def __str__(self) -> str:
        return f"{self.severity.value}: {self.where}: {self.message}"


def error(where: str, message: str, origin: Origin | None = None) -> Finding:
    return Finding(severity=Severity.ERROR, where=where, message=message, origin=origin)


def warning(where: str, message: str, origin: Origin | None = None) -> Finding:
    return Finding(severity=Severity.WARNING, where=where, message=message, origin=origin)
