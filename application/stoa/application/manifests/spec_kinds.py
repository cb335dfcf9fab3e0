"""The registered kinds of API descriptions, and the source of their documents."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from stoa.application.backends.upstream_tokens import UpstreamTokens
from stoa.application.manifests.fields import API_VERSION
from stoa.application.manifests.tools import ToolSetManifest
from stoa.application.ports.manifest_parts import SourceManifest
from stoa.application.ports.spec import FollowedDocuments, SpecCredential, SpecDocument, SpecSource
from stoa.application.ports.spec_kind import ChangingSpecKind, SpecKind, SpecPlace
from stoa.application.ports.tool_source import ManifestDocument
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.binding import Authentication, origin_of
from stoa.domain.origin import NamedOrigin, ObjectOrigin
from stoa.domain.schema.json_value import JsonObject

_ENTRY = re.compile(r"(?P<secret>secret:)?(?P<name>[a-z0-9]([-a-z0-9.]*[a-z0-9])?)/(?P<entry>[-._A-Za-z0-9]+)")
_OF_KUBERNETES = frozenset({"configmap", "secret"})
_MANIFEST = re.compile(r"""^\s*[{,]?\s*["']?apiVersion["']?\s*:\s*["']?gostoa\.dev/""", re.MULTILINE)
_NO_AUTHENTICATION = Authentication()


@dataclass(frozen=True, slots=True)
class RecognisedSpec:
    """A description that was recognised by its address or its text."""

    kind: SpecKind[Any]
    source: SourceManifest
    document: SpecDocument | None
    """The document that it was recognised by; None: the address alone said it, and nothing was fetched."""

    def tool_set(
        self, name: str, *, base_url: str | None = None, authentication: Sequence[JsonObject] = ()
    ) -> JsonObject:
        """The manifest of a global ToolSet that serves all that the description offers. `authentication`: the member of
        `toolDefaults`."""
        member = self.source.model_dump(mode="json", by_alias=True, exclude_unset=True)
        spec: JsonObject = {self.kind.member: member}
        if base_url is not None:
            spec["baseURL"] = base_url
        if authentication:
            spec["toolDefaults"] = {"authentication": list(authentication)}
        return {"apiVersion": API_VERSION, "kind": "ToolSet", "metadata": {"name": name}, "spec": spec}


class SpecKinds:
    """Spec kinds by their member of a ToolSet's `spec`."""

    def __init__(
        self,
        kinds: Sequence[SpecKind[Any]],
        documents: SpecSource,
        upstream_tokens: UpstreamTokens | None = None,
    ) -> None:
        """`upstream_tokens`: for servers that want an access token of the gateway before they show a description.
        Raises InvalidInput if two kinds claim one member."""
        self._kinds = {kind.member: kind for kind in kinds}
        self._documents = documents
        self._followed = documents if isinstance(documents, FollowedDocuments) else None
        self._upstream_tokens = upstream_tokens
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

    def place_of(
        self, document: ManifestDocument, manifest: ToolSetManifest, versions: dict[str, str] | None = None
    ) -> SpecPlace:
        """The place of the ToolSet in `document`. Each location that is read from there is put in `versions`, for
        `are_current`."""
        authentication = manifest.spec.tool_defaults.authentication.to_domain()
        credential = self._credential(authentication, manifest.tenant)
        read = partial(self._read, document, manifest, credential, {} if versions is None else versions)
        access = None if credential is None else credential.access
        is_named = isinstance(document.origin, NamedOrigin) and document.root  # a folder given to `stoa serve`
        folder = document.root if is_named else None
        return SpecPlace(document.origin, read, manifest.tenant, authentication, access, folder)

    async def recognise(
        self, location: str, *, base_url: str | None = None, authentication: Authentication = _NO_AUTHENTICATION
    ) -> RecognisedSpec:
        """Find the kind of the description at an address that a person wrote, which may be a file anywhere. A document
        that no kind accepts is taken for the first registered one, whose converter says what is wrong with it.
        `base_url`: where its operations are called, if it is known; `authentication`: the platform's, there. Raises
        InvalidInput or Unavailable."""
        if not self._kinds:
            raise InvalidInput(f"{location}: no kind of API description is installed")
        accepting, document = self._accepting(location, None), None
        if not accepting:
            credential = self._credential(authentication, None)
            shown = credential if _is_same_origin(location, base_url or location) else None
            document = await self._documents.fetch(location, credential=shown)
            accepting = self._accepting(location, document.text)
            if not accepting and _MANIFEST.search(document.text):
                raise InvalidInput(f"{location}: is a manifest and no API description; name it with --catalogue")
        kind = accepting[0] if accepting else next(iter(self._kinds.values()))
        return RecognisedSpec(kind, kind.source_at(location), document)

    def _accepting(self, location: str, text: str | None) -> list[SpecKind[Any]]:
        accepting = [kind for kind in self._kinds.values() if kind.accepts(location, text)]
        if len(accepting) > 1:
            members = " and ".join(kind.member for kind in accepting)
            raise InvalidInput(f"{location}: may be {members}; write a ToolSet that says which")
        return accepting

    def _credential(self, authentication: Authentication, tenant: TenantId | None) -> SpecCredential | None:
        if authentication.type == "none":
            return None
        tokens = self._upstream_tokens
        access = None if tokens is None else tokens.own_access(authentication, tenant)
        return SpecCredential(authentication, tenant, access)

    def are_current(self, versions: Mapping[str, str]) -> bool:
        """True if it is known without fetching that nothing changed at any of these locations."""
        return bool(versions) and all(
            version and self._version_of(location) == version for location, version in versions.items()
        )

    def _version_of(self, location: str) -> str:
        return "" if self._followed is None else self._followed.version_of(location)

    async def _read(
        self,
        document: ManifestDocument,
        manifest: ToolSetManifest,
        credential: SpecCredential | None,
        versions: dict[str, str],
        location: str,
        /,
        *,
        root: str = "",
    ) -> SpecDocument:
        if isinstance(document.origin, ObjectOrigin) and not location.startswith(("http://", "https://")):
            return await self._fetched(_entry(document.origin, location), versions)
        scheme = urlsplit(location).scheme
        if scheme in _OF_KUBERNETES:
            raise InvalidInput(f"spec.{manifest.member}: only a manifest in Kubernetes can refer to a {scheme}")
        if scheme not in {"http", "https"} and document.tenant is not None and not document.root:
            field = f"spec.{manifest.member}.url"
            raise InvalidInput(f"{field}: there is no folder to read files from; give a URL, or use inline")
        if scheme:
            called_at = manifest.spec.base_url or manifest.source.called_at
            is_meant = called_at is not None and _is_same_origin(location, called_at)
            shown = credential if is_meant else None
            return await self._fetched(location, versions, root=document.root, credential=shown)
        # What is global is the platform's word, and so is a path that it writes out.
        is_own = document.tenant is None and manifest.tenant is None and PurePath(location).is_absolute()
        base = PurePath(document.base_directory)
        below = "" if is_own else document.root  # contains `root`, because the document that names the files lies there
        return await self._fetched(str(base / location), versions, root=below or (str(base / root) if root else ""))

    async def _fetched(
        self, location: str, versions: dict[str, str], *, root: str = "", credential: SpecCredential | None = None
    ) -> SpecDocument:
        versions[location] = ""
        try:
            return await self._documents.fetch(location, root=root, credential=credential)
        finally:  # one that is missing has a version too
            versions[location] = self._version_of(location)


def _entry(origin: ObjectOrigin, location: str) -> str:
    """The address of an entry of a ConfigMap or Secret in the manifest's own namespace. Raises InvalidInput for what is
    no such entry."""
    match = _ENTRY.fullmatch(location)
    if match is None:
        raise InvalidInput(f"{location[:100]!r}: write NAME/ENTRY, a ConfigMap of this namespace, or an http(s) URL")
    kind = "secret" if match["secret"] else "configmap"
    return f"{kind}://{origin.namespace}/{match['name']}/{match['entry']}"


def _is_same_origin(location: str, url: str) -> bool:
    """False for a file."""
    return bool(urlsplit(location).scheme) and origin_of(location) == origin_of(url)
