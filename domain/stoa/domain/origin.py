"""The origin of a manifest: the identity by which its findings, its operations and its report are matched."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileOrigin:
    """A manifest in a file, or the file as a whole."""

    file: str
    number: int | None = None
    """Of the document in the file, from 1; None: the whole file."""

    @property
    def whole(self) -> "FileOrigin":
        """The file. Its manifests are replaced together: when one is bad, all keep their last good version."""
        return self if self.number is None else FileOrigin(self.file)

    def __str__(self) -> str:
        return self.file if self.number is None else f"{self.file}#{self.number}"


@dataclass(frozen=True, slots=True)
class ObjectOrigin:
    """A manifest that is a Kubernetes object."""

    kind: str
    namespace: str | None
    """None: cluster-scoped."""
    name: str

    @property
    def whole(self) -> "ObjectOrigin":
        return self

    def __str__(self) -> str:
        return f"{self.kind} {self.name if self.namespace is None else f'{self.namespace}/{self.name}'}"


@dataclass(frozen=True, slots=True)
class NamedOrigin:
    """A manifest, or a source of operations, that the embedding program gave a name."""

    name: str

    @property
    def whole(self) -> "NamedOrigin":
        return self

    def __str__(self) -> str:
        return self.name


Origin = FileOrigin | ObjectOrigin | NamedOrigin
