"""Descriptions whose source says that nothing changed are not fetched again."""

from tests.application.catalogue.test_catalogue_loader import Rest

from stoa.application.backends.static_backend import StaticBackend
from stoa.application.catalogue.catalogue_loader import CatalogueLoader
from stoa.application.catalogue.operation_registry import OperationRegistry
from stoa.application.manifests.document_spec_kind import DocumentSpecKind
from stoa.application.manifests.spec_kinds import SpecKinds
from stoa.application.memory.tool_source import InMemoryToolSource
from stoa.application.ports import (
    Conversion,
    ConversionOptions,
    FollowedDocuments,
    SpecConverter,
    SpecCredential,
    SpecDocument,
    SpecSource,
)
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.tool import Tool
from stoa.testing.clock import ManualClock

SET = {
    "apiVersion": "gostoa.dev/v1alpha1",
    "kind": "ToolSet",
    "metadata": {"name": "set"},
    "spec": {"openAPISpec": {"url": "names.txt"}},
}
OTHER = {
    "apiVersion": "gostoa.dev/v1alpha1",
    "kind": "Resource",
    "metadata": {"name": "other"},
    "spec": {"uri": "note://other", "text": "first"},
}


class Followed(SpecSource, FollowedDocuments):
    """Documents with versions, which lie at one another's side."""

    def __init__(self, *, is_versioned: bool = True) -> None:
        self.texts: dict[str, str] = {}
        self.fetched: list[str] = []
        self._is_versioned = is_versioned

    async def fetch(self, location: str, *, root: str = "", credential: SpecCredential | None = None) -> SpecDocument:
        self.fetched.append(location)
        if location not in self.texts:
            raise InvalidInput(f"{location}: nothing there")
        return SpecDocument(location, self.texts[location])

    def version_of(self, location: str) -> str:
        return f"v {self.texts.get(location)}" if self._is_versioned else ""


class Names(SpecConverter):
    def convert(self, document: SpecDocument, options: ConversionOptions) -> Conversion:
        binding = {"kind": "rest", "method": "GET", "base_url": "http://127.0.0.1:9", "path": "/"}
        return Conversion(tuple(Tool(name=name, binding=binding) for name in document.text.split()))


class Here:
    def __init__(self, specs: Followed) -> None:
        self.specs, self.source = specs, InMemoryToolSource()
        self.source.put("set", SET)
        self.registry = OperationRegistry([Rest([]), StaticBackend()])
        kinds = SpecKinds([DocumentSpecKind("openAPISpec", Names())], specs)
        self.loader = CatalogueLoader(sources=[self.source], specs=kinds, registry=self.registry, clock=ManualClock())

    async def load(self, note: str) -> list[str]:
        """The names of the tools after another manifest changed."""
        self.source.put("other", {**OTHER, "spec": {**OTHER["spec"], "text": note}})
        await self.loader.execute()
        return sorted(key.name for key in self.registry.catalogue.tools)


async def test_unchanged_description_is_not_fetched_again_when_another_manifest_changes():
    here = Here(Followed())
    here.specs.texts["names.txt"] = "ant bee"
    assert await here.load("first") == ["ant", "bee"]
    assert await here.load("second") == ["ant", "bee"]
    assert len(here.specs.fetched) == 1
    here.specs.texts["names.txt"] = "ant cow"
    assert await here.load("third") == ["ant", "cow"]
    assert len(here.specs.fetched) == 2


async def test_description_that_is_gone_is_told_and_found_again():
    here = Here(Followed())
    here.specs.texts["names.txt"] = "ant"
    assert await here.load("first") == ["ant"]
    del here.specs.texts["names.txt"]
    assert await here.load("second") == ["ant"], "the last good version stays in use"
    assert any("nothing there" in finding.message for finding in here.loader.findings)
    here.specs.texts["names.txt"] = "ant"
    assert await here.load("third") == ["ant"]
    assert here.loader.findings == ()


async def test_description_of_a_source_that_knows_no_versions_is_fetched_each_time():
    here = Here(Followed(is_versioned=False))
    here.specs.texts["names.txt"] = "ant"
    await here.load("first")
    await here.load("second")
    assert len(here.specs.fetched) == 2
