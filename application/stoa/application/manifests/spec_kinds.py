"""The registered kinds of API descriptions, and the source of their documents."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from stoa.application.manifests.tools import ToolSetManifest
from stoa.application.ports.manifest_parts import SourceManifest
from stoa.application.ports.spec import SpecDocument, SpecSource
from stoa.application.ports.spec_kind import ChangingSpecKind, SpecKind, SpecPlace
from stoa.application.ports.tool_source import ManifestDocument
from stoa.domain.errors import InvalidInput
from stoa.domain.origin import NamedOrigin, ObjectOrigin

_ENTRY = re.compile(r"(?P<secret>secret:)?(?P<name>[a-z0-9]([-a-z0-9.]*[a-z0-9])?)/(?P<entry>[-._A-Za-z0-9]+)")
_OF_KUBERNETES = frozenset({"configmap", "secret"})


@dataclass(frozen=True, slots=True)
class RecognisedSpec:
    """A description that was recognised by its address or its text."""

    kind: SpecKind[Any]
    source: SourceManifest
    document: SpecDocument


class SpecKinds:
    """Spec kinds by their member of a ToolSet's `spec`."""

    def __init__(self, kinds: Sequence[SpecKind[Any]], documents: SpecSource) -> None:
        """Raises InvalidInput if two kinds claim one member."""
        self._kinds = {kind.member: kind for kind in kinds}
        self._documents = documents
        if len(self._kinds) < len(kinds):
            raise InvalidInput(f"spec kinds: each needs a member of its own, found {[kind.member for kind in kinds]}")

    @property
    def models(self) -> Mapping[str, type[SourceManifest]]:
        return {member: kind.manifest for member, kind in self._kinds.items()}

    @property
    def changing(self) -> Iterator[ChangingSpecKind]:
        """Those whose live servers say when their description changed."""
        return (kind for kind in self._kinds.values() if isinstance(kind, ChangingSpecKind))

    def __getitem__(self, member: str) -> SpecKind[Any]:
        return self._kinds[member]

    def get(self, member: str) -> SpecKind[Any] | None:
        return self._kinds.get(member)

    def place_of(self, document: ManifestDocument, manifest: ToolSetManifest) -> SpecPlace:
        """The place of the ToolSet in `document`."""
        authentication = manifest.spec.tool_defaults.authentication.to_domain()
        return SpecPlace(document.origin, partial(self._read, document, manifest), manifest.tenant, authentication)

    async def recognise(self, location: str) -> RecognisedSpec:
        """Fetch the description at an address that a person wrote, which may be a file anywhere. The document of no
        recognised kind is taken for the first registered one, whose converter says what is wrong with it. Raises
        InvalidInput or Unavailable."""
        place = SpecPlace(NamedOrigin(location), self._documents.fetch)
        for kind in self._kinds.values():
            if kind.accepts(location, None):
                source = kind.source_at(location)
                return RecognisedSpec(kind, source, await kind.fetch(source, place))
        if not self._kinds:
            raise InvalidInput(f"{location}: no kind of API description is installed")
        document = await place.read(location)
        accepting = (kind for kind in self._kinds.values() if kind.accepts(location, document.text))
        kind = next(accepting, next(iter(self._kinds.values())))
        return RecognisedSpec(kind, kind.source_at(location), document)

    async def _read(self, document: ManifestDocument, manifest: ToolSetManifest, location: str) -> SpecDocument:
        if isinstance(document.origin, ObjectOrigin) and not location.startswith(("http://", "https://")):
            return await self._documents.fetch(_entry(document.origin, location))
        scheme = urlsplit(location).scheme
        if scheme in _OF_KUBERNETES:
            raise InvalidInput(f"spec.{manifest.member}: only a manifest in Kubernetes can refer to a {scheme}")
        if scheme not in {"http", "https"} and document.tenant is not None and not document.root:
            field = f"spec.{manifest.member}.url"
            raise InvalidInput(f"{field}: there is no folder to read files from; give a URL, or use inline")
        if scheme:
            return await self._documents.fetch(location, root=document.root)
        # What is global is the platform's word, and so is a path that it writes out.
        is_own = document.tenant is None and manifest.tenant is None and PurePath(location).is_absolute()
        root = "" if is_own else document.root
        return await self._documents.fetch(str(PurePath(document.base_directory) / location), root=root)


def _entry(origin: ObjectOrigin, location: str) -> str:
    """The address of an entry of a ConfigMap or Secret in the manifest's own namespace. Raises InvalidInput for what is
    no such entry."""
    match = _ENTRY.fullmatch(location)
    if match is None:
        raise InvalidInput(f"{location[:100]!r}: write NAME/ENTRY, a ConfigMap of this namespace, or an http(s) URL")
    kind = "secret" if match["secret"] else "configmap"
    return f"{kind}://{origin.namespace}/{match['name']}/{match['entry']}"
