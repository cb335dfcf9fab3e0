"""Spec kinds whose descriptions are documents: files, URLs, or text in the manifest."""

import pydantic_core

from stoa.application.ports.manifest_parts import DocumentSourceManifest
from stoa.application.ports.spec import SpecConverter, SpecDocument
from stoa.application.ports.spec_kind import SpecKind, SpecPlace


class DocumentSpecKind(SpecKind[DocumentSourceManifest]):
    """A SpecKind that needs a converter only. A derived class recognises its documents in `accepts`."""

    manifest = DocumentSourceManifest

    def __init__(self, member: str, converter: SpecConverter) -> None:
        self.member = member
        self._converter = converter

    def accepts(self, location: str, text: str | None) -> bool:  # noqa: ARG002  # for derived kinds
        return False

    def source_at(self, location: str) -> DocumentSourceManifest:
        return DocumentSourceManifest(url=location)

    async def fetch(self, source: DocumentSourceManifest, place: SpecPlace) -> SpecDocument:
        if source.address is not None:
            return await place.read(source.address)
        inline = source.inline
        text = inline if isinstance(inline, str) else pydantic_core.to_json(inline).decode()
        return SpecDocument(f"{place.origin} spec.{self.member}.inline", text)

    def converter(self, source: DocumentSourceManifest) -> SpecConverter:  # noqa: ARG002  # no options of its own
        return self._converter
