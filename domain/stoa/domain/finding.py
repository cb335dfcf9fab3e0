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


class Reason(StrEnum):
    """The kind of problem, as the conditions of a Kubernetes object name it."""

    PART = "PartLeftOut"
    """An operation or a field, while the rest of the manifest is honoured."""
    UNREADABLE = "Unreadable"
    """The text of the manifest could not be read or parsed."""
    INVALID = "Invalid"
    """The manifest is refused; the message names each wrong field."""
    AMBIGUOUS_NAMESPACE = "AmbiguousNamespace"
    """Two namespaces would become one tenant."""
    REFERENCE = "InvalidReference"
    """The API description or the secret that the manifest names is not there or not usable."""
    ORIGIN = "OriginChanged"
    """The API description sends calls to servers that the manifest did not approve."""
    HELD_BACK = "ChangesHeldBack"
    """A new version of the API description has changes that the manifest wants approved first."""
    UNAVAILABLE = "Unavailable"
    """Something could not be reached now; it is tried again."""
    NAME = "NameConflict"
    """The name or URI belongs to another operation in the tenant's view."""
    UNSUPPORTED = "Unsupported"
    """It is valid, and this gateway cannot run it."""
    LAST_GOOD = "LastGoodVersion"
    """An earlier version of the manifest stays in use."""


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
    reason: Reason = Reason.PART
    pointer: str = ""
    """JSON Pointer (RFC 6901) of the place in an API description; "" where there is none, or the whole is meant."""
    line: int | None = None
    """Line of that place in the text of the description, from 1."""

    def about(self, origin: Origin | None) -> "Finding":
        """The finding with this origin."""
        return self.model_copy(update={"origin": origin})

    def __str__(self) -> str:
        line = "" if self.line is None else f" (line {self.line})"
        return f"{self.severity.value}: {self.where}: {self.message}{line}"


def error(where: str, message: str, origin: Origin | None = None, reason: Reason = Reason.PART) -> Finding:
    return Finding(severity=Severity.ERROR, where=where, message=message, origin=origin, reason=reason)


def warning(where: str, message: str, origin: Origin | None = None, reason: Reason = Reason.PART) -> Finding:
    return Finding(severity=Severity.WARNING, where=where, message=message, origin=origin, reason=reason)
