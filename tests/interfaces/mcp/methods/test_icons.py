"""Icons and titles, from where they are declared to the revisions that have them."""

import json
from typing import Any

import pytest
from tests.interfaces.doors import HANDSHAKE_REVISIONS, STATELESS_REVISIONS, World

from stoa.application.manifests.parse import ToolSetManifest, parse_manifest
from stoa.application.ports import ConversionOptions, SpecDocument
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.icon import Icon
from stoa.infrastructure.openapi import OpenApiConverter

SRC = "https://example.com/logo.png"
WRITTEN = {"src": SRC, "mimeType": "image/png", "sizes": ["48x48"], "theme": "dark"}
LISTS = {"tools/list": "tools", "resources/list": "resources", "prompts/list": "prompts"}


@pytest.fixture
def world() -> World:
    world = World()
    icons = [Icon(src=SRC, mime_type="image/png", sizes=("48x48",), theme="dark")]

    @world.gateway.tool(icons=icons, title="A tool")
    def tool() -> str:
        return "x"

    @world.gateway.resource("memo://one", icons=icons, title="A resource")
    def resource() -> str:
        return "x"

    @world.gateway.prompt(icons=icons, title="A prompt")
    def prompt() -> str:
        return "x"

    return world


async def entry(world: World, version: str, method: str) -> dict[str, Any]:
    answer = await (world.modern(method) if version == STATELESS_REVISIONS else world.legacy(method, version=version))
    found: list[dict[str, Any]] = answer.json()["result"][LISTS[method]]
    return next(one for one in found if not one.get("uri", "").startswith("stoa:"))


@pytest.mark.parametrize("method", LISTS)
@pytest.mark.parametrize("version", [*HANDSHAKE_REVISIONS, STATELESS_REVISIONS])
async def test_icons_and_titles_go_to_the_revisions_that_have_them(world: World, version: str, method: str) -> None:
    one = await entry(world, version, method)
    assert one.get("icons") == ([WRITTEN] if version in {"2025-11-25", STATELESS_REVISIONS} else None)
    assert ("title" in one) == (version not in {"2024-11-05", "2025-03-26"})


@pytest.mark.parametrize("version", HANDSHAKE_REVISIONS)
async def test_the_server_introduces_itself_with_its_icon(world: World, version: str) -> None:
    answer = await world.legacy("initialize", {"protocolVersion": version}, version=None)
    info = answer.json()["result"]["serverInfo"]
    assert ("icons" in info) == (version == "2025-11-25")
    assert ("title" in info) == (version not in {"2024-11-05", "2025-03-26"})


async def test_only_the_introduction_carries_the_icon(world: World) -> None:
    key = "io.modelcontextprotocol/serverInfo"
    introduced = (await world.modern("server/discover")).json()["result"]["_meta"][key]
    assert introduced["icons"][0]["src"].startswith("data:image/svg+xml,")
    assert "icons" not in (await world.modern("tools/list")).json()["result"]["_meta"][key]


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Tool", {"endpoint": "https://api.example/x"}),
        ("Resource", {"uri": "memo://x", "text": "x"}),
        ("Prompt", {"messages": [{"text": "x"}]}),
    ],
)
def test_manifests_have_icons_and_a_bad_one_is_named(kind: str, spec: dict[str, Any]) -> None:
    manifest = {"apiVersion": "gostoa.dev/v1alpha1", "kind": kind, "metadata": {"name": "one"}}
    read = parse_manifest({**manifest, "spec": {**spec, "icons": [WRITTEN]}})
    assert not isinstance(read, ToolSetManifest)
    assert [icon.src for icon in read.to_operation().icons] == [SRC]
    with pytest.raises(InvalidInput, match=r"spec\.icons\.0\.src: expected an https: URL"):
        parse_manifest({**manifest, "spec": {**spec, "icons": [{"src": "http://example.com/x"}]}})


def test_a_toolset_gives_its_icons_to_its_tools() -> None:
    spec = {"openAPISpec": {"url": "x.yaml"}, "toolDefaults": {"icons": [WRITTEN]}}
    read = parse_manifest(
        {"apiVersion": "gostoa.dev/v1alpha1", "kind": "ToolSet", "metadata": {"name": "one"}, "spec": spec}
    )
    assert isinstance(read, ToolSetManifest)
    assert [icon.src for icon in read.conversion_options().icons] == [SRC]


@pytest.mark.parametrize(("url", "count"), [(SRC, 1), ("http://example.com/x", 0), ("./logo.png", 0), (5, 0)])
def test_the_logo_of_an_api_is_the_icon_of_its_tools(url: Any, count: int) -> None:
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Things", "version": "1", "x-logo": {"url": url}},
        "servers": [{"url": "https://api.example"}],
        "paths": {"/x": {"get": {"responses": {"200": {"description": "ok"}}}}},
    }
    options = ConversionOptions()
    (tool,) = OpenApiConverter().convert(SpecDocument("x.json", json.dumps(document)), options).tools
    assert len(tool.icons) == count
    chosen = ConversionOptions(icons=(Icon(src="https://example.com/mine.png"),))
    (tool,) = OpenApiConverter().convert(SpecDocument("x.json", json.dumps(document)), chosen).tools
    assert [icon.src for icon in tool.icons] == ["https://example.com/mine.png"]
