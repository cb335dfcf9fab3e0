"""A catalogue that is edited while the gateway serves it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.manifests import tool, tool_set, write
from tests.e2e.processes import GatewayProcess, Upstream, serving, until
from tests.e2e.wire import WireClient, wire_client

SOON = 60.0
"""Seconds within which an edit is in effect."""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream().listening() as listening:
        yield listening


@pytest.fixture
def gateway(tmp_path: Path, upstream: Upstream) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(tmp_path)
    write(gateway, "first.yaml", tool("first", f"{upstream.url}/first"))
    with serving(gateway):
        yield gateway


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[WireClient]:
    with wire_client(gateway.url, gateway.token("cpi-admin")) as client:
        yield client


def test_a_manifest_that_is_added_changed_and_removed_shows_in_the_list_and_in_calls(
    gateway: GatewayProcess, client: WireClient, upstream: Upstream
) -> None:
    def asked_last() -> str:
        client.call("second")
        return upstream.seen[-1].target

    added = write(gateway, "more/second.yaml", tool("second", f"{upstream.url}/second"))
    until(lambda: client.names() == {"first", "second"}, within=SOON)
    assert asked_last() == "/second"

    draft = added.with_suffix(".draft")  # as most editors save: write aside, then replace
    draft.write_text(yaml.safe_dump(tool("second", f"{upstream.url}/changed")), encoding="utf-8")
    draft.replace(added)
    until(lambda: asked_last() == "/changed", within=SOON)

    added.unlink()
    until(lambda: client.names() == {"first"}, within=SOON)
    refused = client.send("tools/call", {"name": "second", "arguments": {}}).json()
    assert refused["error"]["message"] == "Unknown tool: second"
    assert client.call("first")["structuredContent"] == {"ok": True}


BROKEN: dict[str, tuple[Callable[[str], str], str]] = {
    "no YAML at all": (lambda text: text + "\n  - [", "line "),
    "a field that does not exist": (
        lambda text: text.replace("endpoint:", "endpiont:"),
        "spec.endpiont: no such field",
    ),
    "a value that makes no sense": (lambda text: text + "  timeout: 30\n", "spec.timeout: write a duration"),
}


def test_manifests_that_turn_bad_keep_their_last_good_version_and_say_which_file_and_field(
    tmp_path: Path, upstream: Upstream
) -> None:
    gateway = GatewayProcess(tmp_path)
    names = {kind: f"tool-{number}" for number, kind in enumerate(BROKEN)}
    files = {kind: write(gateway, f"{name}.yaml", tool(name, upstream.url)) for kind, name in names.items()}
    good = {kind: file.read_text(encoding="utf-8") for kind, file in files.items()}
    with serving(gateway), wire_client(gateway.url, gateway.token("cpi-admin")) as client:
        for kind, file in files.items():
            file.write_text(BROKEN[kind][0](good[kind]), encoding="utf-8")
        findings = until(lambda: len(_findings(gateway)) >= 2 * len(BROKEN) and _findings(gateway), within=SOON)
        assert findings
        for kind, file in files.items():
            assert any(str(file) in finding and BROKEN[kind][1] in finding for finding in findings), findings
            assert f"warning: {file}: the last good version stays in use" in findings
        assert gateway.get("/ready")[0] == 200
        assert client.names() == set(names.values())
        for name in names.values():
            assert client.call(name)["structuredContent"] == {"ok": True}

        shown = gateway.run("tools", "--catalogue", str(gateway.catalogue))
        assert shown.returncode == 1
        told = " ".join(shown.stderr.split())
        for kind, file in files.items():
            assert file.name in told
            assert BROKEN[kind][1] in told

        for kind, file in files.items():
            file.write_text(good[kind], encoding="utf-8")
        until(lambda: not _findings(gateway), within=SOON)


def test_an_operation_added_to_the_api_description_beside_its_manifest_becomes_a_tool(
    gateway: GatewayProcess, client: WireClient, upstream: Upstream
) -> None:
    def describe(*operations: str) -> None:
        answers = {"responses": {"200": {"description": "ok"}}}
        paths = {f"/{name}": {"get": {"operationId": name, **answers}} for name in operations}
        document = {"openapi": "3.1.0", "info": {"title": "pets", "version": "1"}, "paths": paths}
        (gateway.catalogue / "pets.openapi.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")

    describe("cats")
    write(gateway, "pets.yaml", tool_set("pets", "pets.openapi.yaml", upstream.url))
    until(lambda: client.names() == {"first", "cats"}, within=SOON)
    describe("cats", "dogs")
    until(lambda: client.names() == {"first", "cats", "dogs"}, within=SOON)
    describe("dogs")
    until(lambda: client.names() == {"first", "dogs"}, within=SOON)


def test_a_mounted_config_map_that_kubernetes_swaps_is_read_anew(tmp_path: Path, upstream: Upstream) -> None:
    gateway = GatewayProcess(tmp_path)
    _mount(gateway.catalogue, "1", tool("old", f"{upstream.url}/old"))
    with serving(gateway), wire_client(gateway.url, gateway.token("cpi-admin")) as client:
        assert client.names() == {"old"}
        _mount(gateway.catalogue, "2", tool("new", f"{upstream.url}/new"))
        until(lambda: client.names() == {"new"}, within=SOON)


def test_a_single_file_is_followed_however_it_is_saved(tmp_path: Path, upstream: Upstream) -> None:
    gateway = GatewayProcess(tmp_path, sources=("only.yaml",))
    file = write(gateway, "only.yaml", tool("version-0", upstream.url))
    with serving(gateway), wire_client(gateway.url, gateway.token("cpi-admin")) as client:
        for number in (1, 2, 3):
            draft = write(gateway, "draft", tool(f"version-{number}", upstream.url))
            draft.replace(file)
            until(lambda: client.names() == {f"version-{number}"}, within=SOON)  # noqa: B023  # asked at once
        write(gateway, "only.yaml", tool("version-4", upstream.url))
        until(lambda: client.names() == {"version-4"}, within=SOON)
        file.unlink()
        until(lambda: client.names() == set(), within=SOON)
        write(gateway, "only.yaml", tool("version-5", upstream.url))
        until(lambda: client.names() == {"version-5"}, within=SOON)


def _findings(gateway: GatewayProcess) -> list[str]:
    found: list[str] = gateway.ready()["catalogue"]["findings"]
    return found


def _mount(folder: Path, version: str, manifest: dict[str, Any]) -> None:
    """What the kubelet does: the content in a folder of its own, then one rename of the link to it."""
    (folder / f"..{version}").mkdir()
    (folder / f"..{version}" / "tools.yaml").write_text(yaml.safe_dump(manifest), encoding="utf-8")
    (folder / "..data_tmp").symlink_to(f"..{version}")
    (folder / "..data_tmp").rename(folder / "..data")
    if not (folder / "tools.yaml").is_symlink():
        os.symlink("..data/tools.yaml", folder / "tools.yaml")
