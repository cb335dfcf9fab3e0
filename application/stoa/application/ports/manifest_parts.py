"""Base models of the members of a manifest's `spec` that a back end defines itself."""

import re
from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from stoa.domain.operations.binding import (
    MAX_STREAM_MESSAGES,
    Binding,
    SecretKey,
    SecretName,
    SecretReference,
    StreamBounds,
    TlsSecrets,
)
from stoa.domain.schema.json_value import JsonObject
from stoa.domain.value import Strict

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


DURATION = r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)"


_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_WORD = "[0-9A-Fa-f]{1,4}"
_IPV6 = (
    rf"\[({_WORD}(:{_WORD}){{7}}|({_WORD}(:{_WORD}){{0,3}})?::({_WORD}(:{_WORD}){{0,2}})?"
    rf"|({_WORD}(:{_WORD})?)?::({_WORD}(:{_WORD}){{0,4}})?)\]"
)
HOST_AND_PORT = rf"([A-Za-z0-9._-]+|{_IPV6})(:{_PORT})?"
"""Pattern of the host, in ASCII, and the port of a URL (RFC 3986 section 3.2)."""


def seconds(value: Any) -> Any:
    """A duration with its unit, in seconds. Raises ValueError."""
    if isinstance(value, str) and (match := re.fullmatch(DURATION, value)):
        return float(match[1]) * _UNITS[match[2]]
    raise ValueError("write a duration with its unit, such as 500ms, 30s or 5m")


Interval = Annotated[float, BeforeValidator(seconds), Field(ge=1, le=366 * 86_400)]
"""A year at most, or an API server, whose durations end at 292 years, would refuse what a file may say."""


def rules(*rules_with_messages: tuple[str, str]) -> JsonObject:
    """The `json_schema_extra` of a model whose validators an API server can check too: a rule in CEL for each, and the
    message for the author (Kubernetes, "Validation rules"). A derived model repeats the rules of its base."""
    validations = [{"rule": rule, "message": message} for rule, message in rules_with_messages]
    return {"x-kubernetes-validations": validations}


def exactly_one(*members: str) -> str:
    """The rule that exactly one of these fields is set."""
    return f"{' + '.join(f'(has(self.{member}) ? 1 : 0)' for member in members)} == 1"


def requires(*members: str) -> list[Any]:
    """Alternatives of which each needs one of these fields: for fields of several types, which rules cannot see."""
    return [{"required": [member]} for member in members]


class ManifestModel(Strict):
    """Base of all models of manifests: unknown fields are refused, names are camelCase."""

    model_config = ConfigDict(alias_generator=to_camel)


class SecretRefManifest(ManifestModel):
    """A reference to a secret."""

    name: SecretName
    """A secret of the manifest's own namespace."""
    key: SecretKey | None = None
    """Its entry; absent: the one that the type of authentication expects."""

    def to_domain(self) -> SecretReference:
        return SecretReference(name=self.name, key=self.key)


class TlsManifest(ManifestModel):
    """`tls` of a member whose back end is reached over TLS."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.clientSecretRef) || !has(self.clientSecretRef.key)",
                "clientSecretRef.key: the entries are tls.crt and tls.key; remove it",
            )
        )
    )

    ca_secret_ref: SecretRefManifest | None = None
    client_secret_ref: SecretRefManifest | None = None

    @model_validator(mode="after")
    def _names_both_entries(self) -> Self:
        if self.client_secret_ref is not None and self.client_secret_ref.key is not None:
            raise ValueError("clientSecretRef.key: the entries are tls.crt and tls.key; remove it")
        return self

    def to_domain(self) -> TlsSecrets:
        ca, client = self.ca_secret_ref, self.client_secret_ref
        return TlsSecrets(ca=ca and ca.to_domain(), client=client and client.to_domain())


class StreamManifest(ManifestModel):
    """`stream` of a member that reads streams: where reading ends."""

    max_messages: int = Field(default=100, ge=1, le=MAX_STREAM_MESSAGES)
    max_bytes: int = Field(default=1024 * 1024, ge=1, le=8 * 1024 * 1024)
    max_duration: Annotated[float, BeforeValidator(seconds), Field(gt=0, le=300)] = 10.0

    def to_domain(self) -> StreamBounds:
        return StreamBounds(max_messages=self.max_messages, max_bytes=self.max_bytes, max_seconds=self.max_duration)


class BindingManifest(ManifestModel):
    """The member of a Tool's `spec` that describes the call, such as `spec.kafka`. The ToolBackend names its model as
    `manifest` (NamedByManifests). Pickled to the worker process, so a derived model is importable by its name."""

    member: ClassVar[str]
    """The key of the member in `spec`."""

    def input_schema(self) -> JsonObject:
        """The tool's input schema if `spec.inputSchema` is absent. Raises InvalidInput."""
        return {"type": "object", "properties": {}}

    @abstractmethod
    def to_binding(self, input_schema: JsonObject) -> Binding:
        """The binding that the member describes. Raises InvalidInput, naming the wrong field as `spec.kafka.topic`."""
        ...


class SourceManifest(ManifestModel):
    """The member of a ToolSet's `spec` that names the source of its tools, such as `spec.grpc`: a document, or a live
    server. A SpecKind names its model as `manifest`."""

    refresh_interval: Interval = 3600.0
    """When a description at a URL is fetched again."""

    @property
    def address(self) -> str | None:
        """The address that the description is fetched from; None: the manifest contains it."""
        return None

    @property
    def called_at(self) -> str | None:
        """A URL of the server that calls go to, unless `spec.baseURL` names another. The ToolSet's credential may be
        shown where a description is fetched from this origin. None: the description is fetched without it."""
        return None

    @property
    def is_remote(self) -> bool:
        """True if the description can change without its manifest; it is then fetched again after
        `refresh_interval`."""
        return self.address is not None and bool(urlsplit(self.address).scheme)


class EntryReference(ManifestModel):
    """One entry of a ConfigMap or Secret in the manifest's namespace."""

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)
    key: str = Field(pattern=r"^[-._A-Za-z0-9]+$", max_length=253)


class DocumentSourceManifest(SourceManifest):
    """A description that is a document: a file, an http(s) URL, an entry of a ConfigMap or Secret, or written in the
    manifest. Of a manifest in Kubernetes the file NAME/ENTRY is an entry of a ConfigMap, and the other way round."""

    model_config = ConfigDict(json_schema_extra={"oneOf": requires("url", "inline", "configMapRef", "secretRef")})

    url: str | None = None
    """URL of the description; in a file also a path, in Kubernetes also `NAME/KEY`, the entry of a ConfigMap."""
    inline: str | JsonObject | None = None
    """The description, as text or as an object."""
    config_map_ref: EntryReference | None = None
    """The entry of a ConfigMap that holds the description; in a file the path NAME/KEY."""
    secret_ref: EntryReference | None = None
    """The entry of a Secret that holds the description; only in Kubernetes."""

    @model_validator(mode="after")
    def _is_in_one_place(self) -> Self:
        places = (self.url, self.inline, self.config_map_ref, self.secret_ref)
        if sum(place is not None for place in places) != 1:
            raise ValueError("set exactly one of url, inline, configMapRef and secretRef")
        return self

    @property
    def address(self) -> str | None:
        if self.config_map_ref is not None:
            return f"{self.config_map_ref.name}/{self.config_map_ref.key}"
        if self.secret_ref is not None:
            return f"secret:{self.secret_ref.name}/{self.secret_ref.key}"
        return self.url

    @property
    def is_remote(self) -> bool:
        return self.url is not None and bool(urlsplit(self.url).scheme)

    @property
    def called_at(self) -> str | None:
        """With an authentication, tools are made only of operations at the document's own origin (SpecConverter)."""
        return self.url
