"""Security schemes of a document (OpenAPI 3.1 section 4.8.27) and the gateway's credentials: which of them each
operation gets, and which arguments no model is asked for because they would carry one.
"""

import re
from collections import Counter
from dataclasses import dataclass

from stoa.application.ports import ConversionOptions
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.tool import Authentication
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, as_text, is_object
from stoa.infrastructure.openapi.document import ApiDocument
from stoa.infrastructure.openapi.paths import ApiOperation
from stoa.infrastructure.openapi.references import References, Unresolvable
from stoa.infrastructure.openapi.report import Report

_SEPARATORS = re.compile(r"[^a-z0-9]+")
_LOCATIONS = frozenset({"header", "query", "cookie"})


@dataclass(frozen=True, slots=True)
class _Scheme:
    """One security scheme. `type`: that of the credential which satisfies it; "" for one that the gateway cannot
    send."""

    key: str
    type: str
    location: str = "header"
    name: str = "Authorization"

    @property
    def words(self) -> str:
        where = "" if self.type != "apiKey" else f", {self.location} {self.name}"
        return f"{self.key} ({self.type or 'unknown type'}{where})"

    def is_satisfied_by(self, entry: Authentication) -> bool:
        if entry.scheme is not None:
            return entry.scheme == self.key
        if entry.type == "apiKey":
            is_here = entry.location == self.location and _same(entry.parameter_name, self.name, self.location)
            return is_here if self.type == "apiKey" else is_here and self.type != ""
        return entry.type == self.type or (entry.type == "oauth2" and self.type == "bearer")


class Security:
    """`options.authentication` are the credentials that the gateway holds. Raises InvalidInput if one of them names a
    security scheme that the document does not have, or that the gateway cannot send."""

    def __init__(self, document: ApiDocument, references: References, options: ConversionOptions) -> None:
        self._schemes = _schemes_of(document, references)
        self._of_document = document.root.get("security")
        self._location = document.location
        self.entries = tuple(self._resolved(entry) for entry in options.authentication.entries)
        """The credentials that the gateway holds, as they are sent."""
        self._written = options.authentication.entries
        self._unmet: Counter[str] = Counter()
        self._withheld: Counter[str] = Counter()

    def authentication_of(self, operation: ApiOperation) -> Authentication:
        """The credentials that requests of this operation carry: those of the first alternative that the gateway can
        satisfy, else all that it holds."""
        alternatives = self._alternatives(operation)
        for alternative in alternatives:
            wanted = [self._entry_for(scheme) for scheme in alternative]
            if alternative and all(position is not None for position in wanted):
                undeclared = (n for n in range(len(self.entries)) if not self._is_declared(n))
                return self._joined(dict.fromkeys([*(n for n in wanted if n is not None), *undeclared]))
        if alternatives and all(alternatives):
            self._unmet[" or ".join(" and ".join(s.words for s in schemes) for schemes in alternatives[:3])] += 1
        return self._joined(dict.fromkeys(range(len(self.entries))))

    def holds(self, name: str, place: str) -> bool:
        """True if the gateway sends a credential of its own under this name."""
        return any(
            entry.type == "apiKey" and entry.location == place and _same(entry.parameter_name, name, place)
            for entry in self.entries
        )

    def is_credential(self, name: str, place: str, operation: ApiOperation) -> bool:
        """True if a security scheme of the operation is sent as this parameter."""
        return any(
            scheme.type == "apiKey" and scheme.location == place and _same(scheme.name, name, place)
            for scheme in self._schemes_at(operation)
        )

    def is_credential_member(self, name: str, operation: ApiOperation) -> bool:
        """True if this member of a body is the other way to send an API key of the operation: it is called like the
        scheme or like its header."""
        return any(
            scheme.type == "apiKey" and _plain(name) in {_plain(scheme.key), _plain(scheme.name)}
            for scheme in self._schemes_at(operation)
        )

    def withhold(self, name: str) -> None:
        """Notes that an optional argument is left out because it is a credential."""
        self._withheld[name] += 1

    def report(self, report: Report) -> None:
        """Reports requirements that the gateway's credentials do not meet, and arguments that were withheld."""
        for words, count in sorted(self._unmet.items()):
            key = words.partition(" ")[0]
            message = (
                f"{count} operations need {words}, and the gateway holds no such credential; set "
                f"toolDefaults.authentication: [{{scheme: {key}, secretRef: {{name: ...}}}}]"
            )
            report.warning("", message, ("components", "securitySchemes", key))
        for name, count in sorted(self._withheld.items()):
            message = (
                f"{count} operations take the credential {name!r} as an argument too, which no caller is asked for"
            )
            report.warning("", message)

    def _joined(self, positions: dict[int, None]) -> Authentication:
        """One Authentication of these entries: a token that each call brings first, one for each place on the wire."""
        entries = sorted((self.entries[n] for n in positions), key=lambda entry: entry.type != "oauth2")
        by_place: dict[tuple[str, str], Authentication] = {}
        for entry in entries:
            is_key = entry.type == "apiKey"
            place = (entry.location, entry.parameter_name) if is_key else ("header", "Authorization")
            by_place.setdefault(place, entry)
        if not by_place:
            return Authentication()
        first, *also = by_place.values()
        return first.model_copy(update={"also": tuple(also)}) if also else first

    def _alternatives(self, operation: ApiOperation) -> list[list[_Scheme]]:
        """Alternatives of which each names schemes that are needed together; an empty one: none is needed."""
        written = as_array(operation.content.get("security", self._of_document))
        return [
            [self._schemes.get(key) or _Scheme(key, "") for key in requirement]
            for requirement in written
            if is_object(requirement)
        ]

    def _schemes_at(self, operation: ApiOperation) -> list[_Scheme]:
        return [scheme for alternative in self._alternatives(operation) for scheme in alternative]

    def _entry_for(self, scheme: _Scheme) -> int | None:
        fitting = (n for n, entry in enumerate(self._written) if scheme.is_satisfied_by(entry))
        return next(fitting, None)

    def _is_declared(self, position: int) -> bool:
        return any(scheme.is_satisfied_by(self._written[position]) for scheme in self._schemes.values())

    def _resolved(self, entry: Authentication) -> Authentication:
        """The entry as it is sent."""
        if entry.scheme is None:
            return entry
        scheme = self._schemes.get(entry.scheme)
        if scheme is None or not scheme.type:
            known = ", ".join(sorted(key for key, known in self._schemes.items() if known.type)[:8]) or "none"
            raise InvalidInput(
                f"{self._location}: toolDefaults.authentication: no security scheme {entry.scheme!r} that can be sent; "
                f"the description has {known}"
            )
        if scheme.type == "apiKey":
            changes = {"type": "apiKey", "location": scheme.location, "parameter_name": scheme.name}
        else:
            changes = {"type": "oauth2" if entry.grant is not None else scheme.type}
        return entry.model_copy(update={**changes, "scheme": None})


def _schemes_of(document: ApiDocument, references: References) -> dict[str, _Scheme]:
    components = as_object(document.root.get("components"))
    declared = components.get("securitySchemes") or document.root.get("securityDefinitions")
    schemes: dict[str, _Scheme] = {}
    try:
        for key, written in as_object(references.value(declared)).items():
            schemes[key] = _scheme(key, references.follow(written))
    except Unresolvable:
        pass  # operations that name it are reported as unmet
    return schemes


def _scheme(key: str, written: JsonObject) -> _Scheme:
    match as_text(written.get("type")).lower():
        case "apikey":
            location, name = as_text(written.get("in")), as_text(written.get("name"))
            return _Scheme(key, "apiKey", location, name) if location in _LOCATIONS and name else _Scheme(key, "")
        case "http":
            scheme = as_text(written.get("scheme")).lower()
            return _Scheme(key, scheme if scheme in {"bearer", "basic"} else "")
        case "basic":
            return _Scheme(key, "basic")
        case "oauth2" | "openidconnect":
            return _Scheme(key, "bearer")
        case _:
            return _Scheme(key, "")


def _same(name: str, other: str, location: str) -> bool:
    return name.lower() == other.lower() if location == "header" else name == other


def _plain(name: str) -> str:
    return _SEPARATORS.sub("", name.lower())
