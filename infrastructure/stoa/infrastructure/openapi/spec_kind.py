"""ToolSets from OpenAPI documents: `spec.openAPISpec`."""

import re

from stoa.application.manifests.document_spec_kind import DocumentSpecKind
from stoa.application.ports import SpecDocument, SpecPlace
from stoa.application.ports.manifest_parts import DocumentSourceManifest
from stoa.infrastructure.openapi.converter import OpenApiConverter
from stoa.infrastructure.openapi.files import with_files

_VERSION = re.compile(r"""^(openapi|swagger)\s*:|["'](openapi|swagger)["']\s*:""", re.MULTILINE)


class OpenApiSpecKind(DocumentSpecKind):
    """OpenAPI 2.0 and 3.x, as JSON or YAML, in one file or several."""

    def __init__(self) -> None:
        super().__init__("openAPISpec", OpenApiConverter())

    def accepts(self, location: str, text: str | None) -> bool:  # noqa: ARG002  # any address may have one
        """A document with the field `openapi` or `swagger` (OpenAPI 3.1 section 4.8.1)."""
        return text is not None and _VERSION.search(text) is not None

    async def fetch(self, source: DocumentSourceManifest, place: SpecPlace) -> SpecDocument:
        document = await super().fetch(source, place)
        if source.address is None:
            return document  # written in the manifest, so that no folder is its own
        return await with_files(document, source.address, place.folder, place.read)
