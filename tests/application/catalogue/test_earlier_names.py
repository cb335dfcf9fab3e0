"""Names that an earlier version of a converter gave: callable until the description is fetched again, never shown."""

from typing import Any

from tests.application.catalogue.test_catalogue_loader import URL, Bench, many, rest_tool

from stoa.application.catalogue.operation_registry import OperationRegistry
from stoa.application.manifests.document_spec_kind import DocumentSpecKind
from stoa.application.ports import Conversion, ConversionOptions, SpecConverter, SpecDocument
from stoa.domain.access.identity import TenantId
from stoa.domain.operations.catalogue import Catalogue


class Renaming(SpecConverter):
    """The first word of a document is the tool's name, the second its earlier name."""

    def convert(self, document: SpecDocument, options: ConversionOptions) -> Conversion:
        name, earlier_name = document.text.split()
        return Conversion((renamed(name, earlier_name, options.tenant),))


def renamed(name: str, earlier_name: str, tenant: Any = None):
    return rest_tool(name, tenant).model_copy(update={"earlier_names": (earlier_name,)})


def bench() -> Bench:
    return Bench(kinds=[DocumentSpecKind("openAPISpec", Renaming())])


def called(registry: OperationRegistry, name: str) -> str | None:
    compiled = registry.find(None, name)
    return None if compiled is None else compiled.operation.identifier


async def test_an_earlier_name_finds_the_tool_until_the_description_is_fetched_again_and_is_never_listed():
    at = bench()
    at.specs.texts = {URL: "ant emmet"}
    await at.run(a=[many(URL, interval="1h")])
    assert called(at.registry, "emmet") == called(at.registry, "ant") == "ant"
    assert at.names == ["ant"]
    await at.run()
    assert called(at.registry, "emmet") == "ant", "another refresh of the catalogue does not end it"
    at.clock.advance(3600)
    await at.run()
    assert (called(at.registry, "emmet"), called(at.registry, "ant")) == (None, "ant")


async def test_an_earlier_name_ends_with_a_changed_description():
    at = bench()
    at.specs.texts = {"spec": "ant emmet"}
    await at.run(a=[many("spec")])
    at.specs.texts = {"spec": "bee drone"}
    await at.run()
    assert (called(at.registry, "bee"), called(at.registry, "drone")) == ("bee", None)


def test_an_earlier_name_takes_the_place_of_no_tool_and_of_no_earlier_name_of_the_platform():
    acme = TenantId("acme")
    catalogue, _ = Catalogue.build(
        [rest_tool("ant"), renamed("bee", "ant"), renamed("cow", "old"), renamed("dog", "old", "acme")]
    )
    assert {name: getattr(catalogue.find(acme, name), "name", None) for name in ("ant", "old", "none")} == {
        "ant": "ant",
        "old": "cow",
        "none": None,
    }
    assert catalogue.find(acme, "old", "prompt") is None
