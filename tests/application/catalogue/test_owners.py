"""Whose a manifest is: bound places, namespaces, and what a tenant's own words may not lower."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.application.pipeline import ScriptedBackend

from stoa.application.backends.static_backend import StaticBackend
from stoa.application.catalogue.catalogue_loader import RETRY_SECONDS, CatalogueLoader
from stoa.application.catalogue.operation_registry import OperationRegistry
from stoa.application.catalogue.owners import CatalogueEntry
from stoa.application.gateway import Gateway
from stoa.application.manifests.document_spec_kind import DocumentSpecKind
from stoa.application.manifests.spec_kinds import SpecKinds
from stoa.application.memory.spec_source import InMemorySpecSource
from stoa.application.memory.tool_source import InMemoryToolSource
from stoa.application.ports import Conversion, SpecConverter
from stoa.application.ports.tool_source import ManifestDocument
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.binding import RestBinding
from stoa.domain.operations.tool import Tool
from stoa.domain.origin import NamedOrigin
from stoa.testing.clock import ManualClock

API = "gostoa.dev/v1alpha1"
URL = "https://docs.example/s"


class Rest(ScriptedBackend):
    kind = "rest"


class Lines(SpecConverter):
    """Each line of a description is a tool: name, method, origin."""

    def convert(self, document, options):
        if "<" in document.text:
            raise InvalidInput("no description")
        return Conversion(tuple(self._tool(*line.split(), options) for line in document.text.splitlines()))

    def _tool(self, name, method, origin, options):
        binding = RestBinding(method=method, base_url=options.base_url or origin, path="/")
        return Tool(name=name, tenant=options.tenant, tags=options.extra_tags, binding=binding)


def manifest(name, namespace=None, *, endpoint="http://127.0.0.1:9/", **spec):
    metadata = {"name": name, **({} if namespace is None else {"namespace": namespace})}
    return {"apiVersion": API, "kind": "Tool", "metadata": metadata, "spec": {"endpoint": endpoint, **spec}}


def tool_set(name="set", namespace=None, url=URL, **spec):
    content = manifest(name, namespace)
    return {**content, "kind": "ToolSet", "spec": {"openAPISpec": {"url": url}, **spec}}


class Bench:
    def __init__(self, lowering=(), specs=None) -> None:
        self.source, self.clock = InMemoryToolSource(), ManualClock()
        self.specs = specs or InMemorySpecSource()
        self.registry = OperationRegistry([Rest([]), StaticBackend()])
        self.refresh = CatalogueLoader(
            sources=[self.source],
            specs=SpecKinds([DocumentSpecKind("openAPISpec", Lines())], self.specs),
            registry=self.registry,
            clock=self.clock,
            lowering=lowering,
        )

    def put(self, file, content, tenant=None):
        origin = f"{file}#1"
        if content is None:
            self.source.remove(origin)
        else:
            self.source.put(origin, content, tenant=tenant)

    async def run(self):
        return [str(finding) for finding in await self.refresh.execute()]

    async def findings(self, content, tenant=None):
        self.put("a", content, tenant)
        return await self.run()

    @property
    def tools(self):
        return {str(key): tool for key, tool in self.registry.catalogue.tools.items()}


# -- places


@pytest.mark.parametrize(
    ("text", "path", "tenant"),
    [
        ("catalogue", "catalogue", None),
        ("/etc/catalogue", "/etc/catalogue", None),
        ("acme=teams/acme", "teams/acme", "acme"),
        ("tenant-acme=teams/acme", "teams/acme", "acme"),
        ("acme=a=b", "a=b", "acme"),
        ("./acme=a", "./acme=a", None),
        ("Acme=a", "Acme=a", None),
        ("acme", "acme", None),
    ],
)
def test_a_catalogue_path_names_a_tenant_before_an_equals_sign(text, path, tenant):
    assert CatalogueEntry.parse(text) == CatalogueEntry(path, tenant)


def test_a_tenant_without_a_path_is_refused():
    with pytest.raises(InvalidInput, match="write TENANT=PATH"):
        CatalogueEntry.parse("acme=")


@pytest.mark.parametrize("namespace", [None, "acme", "tenant-acme"])
@pytest.mark.parametrize("kind", ["Tool", "ToolSet", "Resource", "Prompt"])
async def test_a_bound_place_gives_all_kinds_to_its_tenant(kind, namespace):
    bench = Bench()
    bench.specs.put(URL, "ant GET http://127.0.0.1:9")
    content = tool_set("ant", namespace) if kind == "ToolSet" else {**manifest("ant", namespace), "kind": kind}
    content["spec"] |= {"Resource": {"uri": "memo://ant"}, "Prompt": {"messages": [{"text": "x"}]}}.get(kind, {})
    if kind == "Prompt":
        del content["spec"]["endpoint"]
    assert await bench.findings(content, "acme") == []
    operations = bench.registry.catalogue.operations.values()
    assert {(one.tenant, one.is_by_tenant) for one in operations} == {("acme", True)}


@pytest.mark.parametrize("namespace", ["beta", "tenant-beta", "", "tenant-", 7, "tenant-tenant-acme", {"a": 1}])
async def test_a_bound_place_makes_nothing_for_another_namespace(namespace):
    bench = Bench()
    (problem,) = await bench.findings(manifest("ant", namespace), "acme")
    assert problem.startswith("error: a#1: metadata.namespace: ")
    assert problem.endswith("write acme, or leave it out")
    assert bench.tools == {}


async def test_a_bound_place_of_a_tenant_that_is_called_tenant_something_stays_with_it():
    for namespace, expected in ((None, ["tenant-a/ant"]), ("tenant-tenant-a", ["tenant-a/ant"]), ("tenant-a", [])):
        bench = Bench()
        await bench.findings(manifest("ant", namespace), "tenant-a")
        assert list(bench.tools) == expected


async def test_a_bound_place_cannot_be_left_by_a_label_or_by_metadata_that_is_none():
    for metadata in (None, [], "x", {"name": "ant", "labels": {"gostoa.dev/tenant": "beta"}}):
        bench = Bench()
        assert await bench.findings({**manifest("ant"), "metadata": metadata}, "acme")
        assert bench.tools == {}


@pytest.mark.parametrize("url", ["/etc/passwd", "../x.yaml", "x.yaml", "file:///etc/passwd", "file:x", "c:/x"])
async def test_a_tenants_manifest_without_a_folder_names_no_files(url):
    bench = Bench()
    bench.specs.put(url, "ant GET http://127.0.0.1:9")
    (problem,) = await bench.findings(tool_set(url=url), "acme")
    assert problem.startswith("error: a#1: spec.openAPISpec.url: there is no folder to read files from")


@pytest.mark.parametrize(
    ("namespace", "bound", "url", "root"),
    [
        (None, None, "/specs/x.yaml", ""),
        (None, None, "../x.yaml", "/cat"),
        ("acme", None, "/specs/x.yaml", "/cat"),
        (None, "acme", "/specs/x.yaml", "/cat"),
    ],
)
async def test_a_global_manifest_alone_names_files_outside_its_folder_and_by_absolute_path(namespace, bound, url, root):
    asked = []

    class Specs(InMemorySpecSource):
        async def fetch(self, location, *, root="", credential=None):
            asked.append((location, root))
            return await super().fetch(location, root=root)

    bench = Bench(specs=Specs())
    bench.source._documents[NamedOrigin("a#1")] = ManifestDocument(
        NamedOrigin("a#1"), tool_set("set", namespace, url), base_directory="/cat/team", root="/cat", tenant=bound
    )
    await bench.run()
    assert asked == [(url if url.startswith("/") else "/cat/team/../x.yaml", root)]


async def test_a_program_may_take_manifests_from_a_tenants_team():
    gateway = Gateway(backends=[Rest([])])
    gateway.tool(lambda: None, name="ant")
    with pytest.raises(InvalidInput, match="would stand in the place of the global tool ant"):
        await gateway.add_manifest(manifest("Ant"), origin="a", tenant="acme")
    with pytest.raises(InvalidInput, match="is not the tenant that this place"):
        await gateway.add_manifest(manifest("bee", "beta"), origin="b", tenant="acme")
    assert await gateway.add_manifest(manifest("bee"), origin="c", tenant="acme") == []
    assert [str(key) for key in gateway.registry.catalogue.tools] == ["global/ant", "acme/bee"]


# -- namespaces that would be one tenant


async def test_two_namespaces_that_would_be_one_tenant_are_not_merged():
    bench = Bench()
    bench.put("a", manifest("ant", "beta"))
    assert await bench.run() == []
    bench.put("b", manifest("bee", "tenant-beta"))
    bench.put("c", manifest("cat", "tenant-gamma"))
    (problem,) = await bench.run()
    assert problem == (
        "error: a#1: metadata.namespace: 'beta' and 'tenant-beta' would be one tenant; "
        "write tenant-beta in all manifests of this tenant"
    )
    assert list(bench.tools) == ["beta/bee", "gamma/cat"]
    bench.put("b", None)
    assert await bench.run() == []
    assert list(bench.tools) == ["beta/ant", "gamma/cat"]


manifests = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d", "e"]),
        st.sampled_from(["ant", "Ant", "bee"]),
        st.sampled_from([None, "acme", "tenant-acme", "beta", "tenant-beta"]),
        st.sampled_from([None, None, "acme", "beta"]),
    ),
    max_size=8,
)


@given(manifests, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_a_reload_leads_to_the_same_catalogue_in_whatever_order_files_came(files, shuffle: random.Random):
    """Files of which none is wrong by itself: the catalogue follows from those that are there, not from their past."""
    wanted = {
        file: (manifest(name, namespace), bound)
        for file, name, namespace, bound in files
        if bound is None or namespace in {None, bound, f"tenant-{bound}"}
    }

    async def loaded(order, *, at_once):
        bench = Bench()
        for file in order:
            bench.put(file, *wanted[file])
            if not at_once:
                await bench.run()
        findings = await bench.run()
        return dict(bench.registry.catalogue.operations), sorted(findings)

    async def compare():
        shuffled = list(wanted)
        shuffle.shuffle(shuffled)
        assert await loaded(list(wanted), at_once=True) == await loaded(shuffled, at_once=False)

    asyncio.run(compare())


# -- what a tenant says of its own tools


@pytest.mark.parametrize("said", [{"tags": ["stoa:read"]}, {"annotations": {"readOnlyHint": True}}])
async def test_a_tenants_manifest_does_not_lower_what_its_method_needs(said):
    for bound in (None, "acme"):
        bench = Bench()
        (warning,) = await bench.findings(manifest("drop", "acme", method="DELETE", **said), bound)
        assert bench.tools["acme/drop"].access == "stoa:admin"
        assert warning == (
            "warning: a#1: drop: tags and annotations cannot lower what its method needs, stoa:admin; "
            "remove them, or have the platform name the tenant in LOWER_ACCESS"
        )


@pytest.mark.parametrize(
    ("namespace", "lowering", "by"),
    [(None, (), "the platform"), ("tenant-acme", ("acme",), "tenant acme, as the platform allows")],
)
async def test_the_platform_may_lower_what_a_method_needs_and_a_finding_says_so(namespace, lowering, by):
    bench = Bench(lowering)
    content = manifest("find", namespace, method="POST", annotations={"readOnlyHint": True})
    (warning,) = await bench.findings(content)
    (tool,) = bench.tools.values()
    assert (tool.access, tool.hints.read_only_hint) == ("stoa:read", True)
    assert warning == (f"warning: a#1: find: needs stoa:read instead of stoa:write, lowered by {by}")


async def test_tags_of_a_tool_set_lower_nothing_and_one_finding_says_so():
    bench = Bench(lowering=("beta",))
    bench.specs.put(URL, "ant POST http://127.0.0.1:9\nbee DELETE http://127.0.0.1:9\ncat GET http://127.0.0.1:9")
    (warning,) = await bench.findings(tool_set(namespace="acme", toolDefaults={"tags": ["stoa:read"]}))
    assert warning.startswith("warning: a#1: ant (and 1 more): tags and annotations cannot lower what its method needs")
    assert [tool.access.value for tool in bench.tools.values()] == ["stoa:write", "stoa:admin", "stoa:read"]


# -- a description that changes where calls go


async def test_a_changed_origin_of_a_fetched_description_is_held_back_until_the_manifest_says_so():
    bench = Bench()
    bench.specs.put(URL, "ant GET https://docs.example")
    bench.put("a", tool_set())
    assert await bench.run() == []
    for text in ("ant GET https://evil.example", "ant GET https://docs.example\nbee GET http://docs.example", "<html>"):
        bench.specs.put(URL, text)
        bench.clock.advance(3600 + RETRY_SECONDS)
        problems = await bench.run()
        assert [tool.binding.base_url for tool in bench.tools.values()] == ["https://docs.example"]
        assert text == "<html>" or "what it gave before stays in use until the manifest says" in problems[0]
    bench.specs.put(URL, "ant GET https://evil.example")
    bench.put("a", tool_set(description="Something else changed."))
    (problem,) = await bench.run()
    assert problem.startswith("error: a#1: the description now sends calls to https://evil.example:443; ")
    assert [tool.binding.base_url for tool in bench.tools.values()] == ["https://docs.example"]
    bench.put("a", tool_set(baseURL="https://evil.example"))
    assert await bench.run() == []
    assert [tool.binding.base_url for tool in bench.tools.values()] == ["https://evil.example"]


async def test_a_manifest_that_gives_up_its_base_url_lets_the_description_say_where():
    bench = Bench()
    bench.specs.put(URL, "ant GET https://docs.example")
    for spec, origin in (({"baseURL": "https://api.example"}, "https://api.example"), ({}, "https://docs.example")):
        bench.put("a", tool_set(**spec))
        assert await bench.run() == []
        assert [tool.binding.base_url for tool in bench.tools.values()] == [origin]


async def test_a_description_that_returns_to_its_origin_is_taken_again():
    bench = Bench()
    bench.specs.put(URL, "ant GET https://docs.example")
    bench.put("a", tool_set())
    await bench.run()
    for origin, names in (("https://evil.example", ["global/ant"]), ("https://docs.example", ["global/bee"])):
        bench.specs.put(URL, f"bee GET {origin}")
        bench.clock.advance(3600)
        assert bool(await bench.run()) == (origin == "https://evil.example")
        assert list(bench.tools) == names
