"""One API description that is served without a manifest: `stoa serve SPEC` and its siblings.

The description becomes the manifest of a global ToolSet in memory. From there on it is a ToolSet as any other: the
catalogue loader fetches, converts and refreshes it, and its tools are governed.
"""

import asyncio
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dishka import Provider, decorate
from dishka import Scope as Lifetime
from dishka import provide as provide  # pyright: ignore[reportUnknownVariableType]  # its overloads are untyped

from stoa.application.catalogue.catalogue_loader import CatalogueLoader
from stoa.application.manifests.fields import AuthenticationManifest
from stoa.application.manifests.spec_kinds import SpecKinds
from stoa.application.manifests.tools import ToolSetManifest
from stoa.application.ports import ManifestDocument, SpecCredential, SpecDocument, SpecKind, SpecSource, ToolSource
from stoa.domain.errors import InvalidInput
from stoa.domain.finding import Severity
from stoa.domain.operations.tool import Tool
from stoa.domain.origin import NamedOrigin
from stoa.infrastructure.documents.spec_text import MAX_BYTES, document, too_large
from stoa.infrastructure.files.manifests import FollowedToolSource
from stoa.infrastructure.files.specs import description_in
from stoa.interfaces.bootstrap.container import build_container
from stoa.interfaces.bootstrap.parts import StartCheck
from stoa.interfaces.bootstrap.served_credentials import authentication_from
from stoa.interfaces.settings import Settings

STANDARD_INPUT = "-"

_GRPC = re.compile(r"^grpc(?=s?://)")
_TOLD = 3
"""Findings that the refusal of a start repeats; the log has all."""


@dataclass(frozen=True, slots=True)
class ServedSpec:
    """An API description with its manifest; plain data, which worker processes inherit."""

    location: str
    manifest: ManifestDocument
    document: SpecDocument | None = None
    """The document that it was recognised by; None: its address alone said it."""

    @property
    def input(self) -> SpecDocument | None:
        """The document, if it came over standard input, which cannot be read again."""
        return self.document if self.location == STANDARD_INPUT else None

    @property
    def file(self) -> Path | None:
        """The file that it stands in, or the folder that was named, if it is one."""
        if self.manifest.root:
            return Path(self.manifest.root)
        is_file = self.location != STANDARD_INPUT and not urlsplit(self.location).scheme
        return Path(self.location) if is_file else None

    def for_serving(self) -> "ServedSpec":
        """The same, without a document that is read again anyway: the process lasts, and it may be large."""
        return ServedSpec(self.location, self.manifest, self.input)


async def served_spec(
    settings: Settings,
    location: str,
    *,
    base_url: str | None = None,
    headers_from_env: Sequence[str] = (),
    schemes_from_env: Sequence[str] = (),
    environment: Mapping[str, str] = os.environ,
) -> ServedSpec:
    """Recognise the description at a file path or address, or in a folder with all its files; `-` reads it from
    standard input. `base_url`: where its operations are called. `headers_from_env`, `schemes_from_env`: as
    in `authentication_from`. Raises InvalidInput or Unavailable."""
    folder = ""
    if location != STANDARD_INPUT and await asyncio.to_thread(Path(location).is_dir):
        folder, location = location, await asyncio.to_thread(description_in, Path(location))
    authentication = authentication_from(headers_from_env, schemes_from_env, environment)
    base_url = None if base_url is None else _GRPC.sub("http", base_url)
    given = await asyncio.to_thread(_standard_input) if location == STANDARD_INPUT else None
    container = build_container(settings, _StandardInputProvider(given))
    try:
        kinds = SpecKinds(await container.get(list[SpecKind[Any]]), await container.get(SpecSource))
        shown = AuthenticationManifest.model_validate(authentication) if authentication else AuthenticationManifest()
        spec = await kinds.recognise(location, base_url=base_url, authentication=shown.to_domain())
        content = spec.tool_set(_name_of(location), base_url=base_url, authentication=authentication)
        try:
            ToolSetManifest.read(content, kinds.models)
        except InvalidInput as refused:
            message = refused.message.replace("spec.baseURL", "--base-url")
            raise InvalidInput(f"{location}: {message}") from refused
    finally:
        await container.close()
    origin = NamedOrigin(location if given is None else given.location)
    return ServedSpec(location, ManifestDocument(origin, content, root=folder), spec.document)


class _StandardInputProvider(Provider):
    """`given`: the document that was read from standard input; None: nothing was."""

    scope = Lifetime.APP

    def __init__(self, given: SpecDocument | None) -> None:
        super().__init__()
        self._given = given

    @decorate
    def specs(self, specs: SpecSource) -> SpecSource:
        return specs if self._given is None else _StandardInput(self._given, specs)


class ServedSpecProvider(_StandardInputProvider):
    """Overrides that add the description to the catalogue, and refuse a start that would serve nothing of it."""

    def __init__(self, spec: ServedSpec) -> None:
        super().__init__(spec.input)
        self._spec = spec

    @decorate
    def sources(self, sources: list[ToolSource]) -> list[ToolSource]:
        return [*sources, FollowedToolSource(self._spec.manifest, self._spec.file)]

    @provide(override=True)
    def start_check(self) -> StartCheck:
        return StartCheck(lambda loader: check_offers_tools(loader, self._spec))


class _StandardInput(SpecSource):
    """The document that was read from standard input, which can be read only once, and all others from `specs`."""

    def __init__(self, given: SpecDocument, specs: SpecSource) -> None:
        self._given = given
        self._specs = specs

    async def fetch(self, location: str, *, root: str = "", credential: SpecCredential | None = None) -> SpecDocument:
        if location == STANDARD_INPUT:
            return self._given
        return await self._specs.fetch(location, root=root, credential=credential)


def check_offers_tools(loader: CatalogueLoader, spec: ServedSpec) -> None:
    """Raises InvalidInput, with what is wrong, if the description gave no tool."""
    origin = spec.manifest.origin
    operations = loader.operations_of(origin)
    if any(isinstance(operation, Tool) for operation in operations):
        return
    findings = [finding for finding in loader.findings if finding.origin == origin]
    told = [finding for finding in findings if finding.severity is Severity.ERROR] or findings
    reasons = "; ".join(str(finding.message) for finding in told[:_TOLD]) or "it has no operations"
    is_converted = bool(operations)  # to the description itself, and nothing to call
    is_placed = "baseURL" in (spec.manifest.content or {})["spec"]
    remedy = "; --base-url says where its operations are called" if is_converted and not is_placed else ""
    raise InvalidInput(f"{origin}: no tools: {reasons}{remedy}")


def _standard_input() -> SpecDocument:
    content = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise too_large("standard input", MAX_BYTES)
    return document("standard input", content)


def _name_of(location: str) -> str:
    """The name of the ToolSet: that of the file, else the host."""
    parts = urlsplit(location)
    name = Path(parts.path).stem or parts.hostname or "standard-input"
    return re.sub(r"[^A-Za-z0-9]+", "-", name)[:100].strip("-") or "api"
