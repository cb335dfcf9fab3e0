"""Files as a cluster has them after `kubectl apply`: for `stoa preflight --cluster`."""

import base64
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace

from stoa.application.ports.spec import SpecCredential, SpecDocument, SpecSource
from stoa.application.ports.tool_source import ManifestDocument, ToolSource
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import InvalidInput
from stoa.domain.origin import ObjectOrigin, Origin
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, as_text, is_object

_DEFAULT_NAMESPACE = "default"
_GROUP = "gostoa.dev/"
_KINDS = frozenset({"Tool", "ToolSet", "Resource", "Prompt"})
_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
"""RFC 1123 subdomain."""
_ENTRY_HOLDERS = frozenset({"ConfigMap", "Secret"})


class AppliedObjects(ToolSource, SpecSource):
    """The manifests among the objects in files, each of its namespace's tenant, and their ConfigMaps and Secrets as the
    documents that these manifests name. Where the files hold no such ConfigMap, the file NAME/ENTRY beside the manifest
    stands for it. `skipped` counts the objects of other kinds."""

    def __init__(self, files: ToolSource, documents: SpecSource) -> None:
        """`documents`: the source of files and URLs."""
        self._files = files
        self._documents = documents
        self._holders: dict[tuple[str, str, str], JsonObject] = {}
        self._folders: dict[str, dict[str, str]] = {}
        """By namespace: the folders of its manifests, with the folder that their files lie below."""
        self.skipped: Counter[str] = Counter()
        self.places: dict[Origin, str] = {}
        """The file of each manifest."""

    async def read(self) -> Sequence[ManifestDocument]:
        self._holders.clear()
        self.skipped.clear()
        manifests: dict[Origin, ManifestDocument] = {}
        for document in _each(await self._files.read()):
            kind = as_text(as_object(document.content).get("kind"))
            if document.content is not None and not _is_manifest(document.content):
                self._keep(kind, document.content)
                continue
            applied = _as_object(document)
            if applied is not document:
                self.places.setdefault(applied.origin, str(document.origin))
            if isinstance(applied.origin, ObjectOrigin):
                self._folders.setdefault(applied.origin.namespace or "", {})[document.base_directory] = document.root
            other = manifests.setdefault(applied.origin, applied)
            if other is not applied:  # the cluster would keep the one that is applied last
                problem = f"{applied.origin} is in these files twice; remove one"
                manifests[document.origin] = ManifestDocument(document.origin, None, problem)
        return list(manifests.values())

    async def changes(self) -> AsyncIterator[None]:
        async for _ in self._files.changes():
            yield

    async def fetch(self, location: str, *, root: str = "", credential: SpecCredential | None = None) -> SpecDocument:
        scheme, _, rest = location.partition("://")
        if scheme not in {"configmap", "secret"}:
            return await self._documents.fetch(location, root=root, credential=credential)
        from stoa.infrastructure.kubernetes.manifests import entry_document

        kind = "ConfigMap" if scheme == "configmap" else "Secret"
        namespace, name, entry = rest.split("/")
        holder = self._holders.get((kind, namespace, name))
        if holder is not None:
            return entry_document(location, holder)
        for folder, top in self._folders.get(namespace, {}).items() if kind == "ConfigMap" else ():
            try:
                return await self._documents.fetch(f"{folder}/{name}/{entry}", root=top or folder)
            except InvalidInput:
                continue
        also = f", or the file {name}/{entry}" if kind == "ConfigMap" else ""
        raise InvalidInput(f"{kind} {name}: is not among these files; add it{also}")

    def _keep(self, kind: str, content: JsonObject) -> None:
        if kind not in _ENTRY_HOLDERS:
            self.skipped[kind or "without a kind"] += 1
            return
        metadata = as_object(content.get("metadata"))
        namespace = as_text(metadata.get("namespace")) or _DEFAULT_NAMESPACE
        data = as_object(content.get("data"))
        for name, text in as_object(content.get("stringData")).items():
            data[name] = base64.b64encode(as_text(text).encode()).decode()
        self._holders[kind, namespace, as_text(metadata.get("name"))] = {**content, "data": data}


def _each(documents: Sequence[ManifestDocument]) -> Iterator[ManifestDocument]:
    """The documents, and in the place of a List (`kubectl get -o yaml`) its items."""
    for document in documents:
        content = as_object(document.content)
        if content.get("kind") != "List":
            yield document
            continue
        for item in as_array(content.get("items")):
            if is_object(item):
                yield replace(document, content=item)


def _is_manifest(content: JsonObject) -> bool:
    """True for a mistaken one too: its kind, or its group, is one of the gateway's."""
    return content.get("kind") in _KINDS or as_text(content.get("apiVersion")).startswith(_GROUP)


def _as_object(document: ManifestDocument) -> ManifestDocument:
    if document.content is None:
        return document
    metadata = as_object(document.content.get("metadata"))
    namespace = as_text(metadata.get("namespace")) or _DEFAULT_NAMESPACE
    content = {**document.content, "metadata": {**metadata, "namespace": namespace}}
    name = as_text(metadata.get("name"))
    origin = ObjectOrigin(as_text(content.get("kind")), namespace, name)
    if name and not (len(name) <= 253 and _OBJECT_NAME.fullmatch(name)):  # files may have names that objects may not
        problem = "metadata.name: write small letters, digits, - and ., as names of objects are"
        return ManifestDocument(origin, None, problem)
    return ManifestDocument(origin, content, tenant=TenantId(namespace.removeprefix("tenant-")))
