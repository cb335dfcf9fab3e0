"""`stoa preflight`: the catalogue, the statuses, the findings, and the differences to a running gateway."""

import json
from pathlib import Path

import httpx
import pytest
import yaml
from tests.interfaces.cli.test_commands import Shell, stoa  # noqa: F401  # a fixture
from tests.interfaces.served import manifest, serving

from stoa.domain.access.identity import TenantId
from stoa.domain.errors import InvalidInput, Unavailable
from stoa.interfaces.bootstrap import build_container, preflight_of
from stoa.interfaces.cli.catalogue_difference import Difference, client_of, differences, served_entries
from stoa.interfaces.settings import Settings

URL = "http://127.0.0.1:9/x"
ACME = TenantId("acme")


def written(folder: Path, *manifests: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "catalogue.yaml").write_text("\n---\n".join(manifests), encoding="utf-8")
    return folder


def test_preflight_shows_the_catalogue_and_each_status(stoa: Shell, tmp_path: Path) -> None:  # noqa: F811
    path = written(tmp_path / "c", manifest("search", URL, "acme"), manifest("words", URL, "acme", enabled=False))
    code, out, err = stoa("preflight", path)
    assert (code, err) == (0, "")
    assert "search" in out
    assert "Registered" in out
    assert "Disabled" in out


def test_preflight_with_a_wrong_field_names_it_and_fails(stoa: Shell, tmp_path: Path) -> None:  # noqa: F811
    path = written(tmp_path / "c", manifest("search", URL, "acme", timeout="soon"))
    code, out, err = stoa("preflight", path, "--format", "json")
    assert code == 1
    report = json.loads(out)
    (status,) = report["manifests"]
    assert (status["phase"], status["conditions"][0]["reason"]) == ("Error", "Invalid")
    assert status["conditions"][0]["message"].startswith("spec.timeout: ")
    assert report["findings"][0]["reason"] == "Invalid"
    assert err == ""


def test_preflight_of_a_path_that_does_not_exist_says_so(stoa: Shell, tmp_path: Path) -> None:  # noqa: F811
    code, _, err = stoa("preflight", tmp_path / "nowhere")
    assert code == 65
    assert "nowhere" in err


def test_preflight_of_nothing_fails(stoa: Shell) -> None:  # noqa: F811
    code, _, err = stoa("preflight")
    assert code == 65
    assert "name the files or folders to load" in err


def test_preflight_of_objects_of_other_kinds_names_the_option_for_them(stoa: Shell, tmp_path: Path) -> None:  # noqa: F811
    path = written(tmp_path / "c", tool_set("configMapRef"), CONFIG_MAP)
    code, _, err = stoa("preflight", path)
    assert code == 1
    assert "found 'ConfigMap'" in err
    assert "--cluster" in err


def test_preflight_for_a_cluster_confines_each_manifest_to_its_namespace(stoa: Shell, tmp_path: Path) -> None:  # noqa: F811
    cheap = manifest("drop", URL, "acme", method="DELETE", tags=["stoa:read"])
    path = written(tmp_path / "c", cheap, manifest("free", URL))
    _, out, err = stoa("preflight", path, "--cluster", "--format", "json")
    operations = {one["name"]: (one["tenant"], one["needs"]) for one in json.loads(out)["operations"]}
    assert operations == {"drop": ("acme", "stoa:admin"), "free": ("default", "stoa:read")}
    assert err == ""


def test_preflight_for_a_cluster_refuses_two_manifests_of_one_name(stoa: Shell, tmp_path: Path) -> None:  # noqa: F811
    path = written(tmp_path / "c", manifest("drop", URL, "acme"), manifest("drop", f"{URL}/y", "acme"))
    code, _, err = stoa("preflight", path, "--cluster")
    assert code == 1
    assert "Tool tenant-acme/drop is in these files twice" in err


DESCRIPTION = {"openapi": "3.1.0", "info": {}, "paths": {"/pets": {"get": {"operationId": "listPets"}}}}
CONFIG_MAP = f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: apis, namespace: tenant-acme}}
data: {{pets.json: '{json.dumps(DESCRIPTION)}'}}
"""
SECRET = CONFIG_MAP.replace("ConfigMap", "Secret").replace("\ndata:", "\nstringData:")


def tool_set(reference: str, name: str = "pets") -> str:
    return f"""
apiVersion: gostoa.dev/v1alpha1
kind: ToolSet
metadata: {{name: {name}, namespace: tenant-acme}}
spec: {{baseURL: "{URL}", openAPISpec: {{{reference}: {{name: apis, key: pets.json}}}}}}"""


@pytest.mark.parametrize(("reference", "holder"), [("configMapRef", CONFIG_MAP), ("secretRef", SECRET)])
def test_preflight_for_a_cluster_reads_descriptions_from_the_objects_beside_the_manifest(
    stoa: Shell,  # noqa: F811
    tmp_path: Path,
    reference: str,
    holder: str,
) -> None:
    path = written(tmp_path / "c", tool_set(reference), holder, "kind: Namespace\napiVersion: v1\nmetadata: {name: x}")
    code, out, err = stoa("preflight", path, "--cluster")
    assert (code, err) == (0, "")
    assert "listPets" in out
    assert "left out, because these are no manifests: 1 Namespace" in out


def test_preflight_for_a_cluster_reads_a_config_map_that_is_made_of_a_folder(stoa: Shell, tmp_path: Path) -> None:  # noqa: F811
    path = written(tmp_path / "c", tool_set("configMapRef"))
    (path / "apis").mkdir()
    (path / "apis" / "pets.json").write_text(json.dumps(DESCRIPTION))
    code, out, _ = stoa("preflight", path, "--cluster", "--format", "json")
    assert code == 0
    assert json.loads(out)["manifests"][0]["phase"] == "Ready"


def test_preflight_for_a_cluster_names_the_file_and_field_of_a_description_that_is_missing(
    stoa: Shell,  # noqa: F811
    tmp_path: Path,
) -> None:
    other_entry = CONFIG_MAP.replace("pets.json", "cats.json")
    for holder, problem in (
        ("", "is not among these files"),
        (other_entry, "has no entry pets.json; it has cats.json"),
    ):
        path = written(tmp_path / "c", tool_set("configMapRef"), *([holder] if holder else []))
        code, _, err = stoa("preflight", path, "--cluster")
        assert code == 1
        assert f"ToolSet tenant-acme/pets: spec.openAPISpec: ConfigMap apis: {problem}" in err
        assert "catalogue.yaml#1)" in err


def test_preflight_for_a_cluster_reads_the_items_of_a_list(stoa: Shell, tmp_path: Path) -> None:  # noqa: F811
    items = [json.dumps(yaml.safe_load(manifest(name, URL, "acme"))) for name in ("ant", "bee")]
    path = written(tmp_path / "c", f"{{apiVersion: v1, kind: List, items: [{', '.join(items)}]}}")
    code, out, _ = stoa("preflight", path, "--cluster", "--format", "json")
    assert code == 0
    assert [one["name"] for one in json.loads(out)["operations"]] == ["ant", "bee"]


def test_preflight_for_a_cluster_refuses_a_name_that_no_object_can_have(stoa: Shell, tmp_path: Path) -> None:  # noqa: F811
    path = written(tmp_path / "c", manifest("Find_It", URL, "acme"))
    assert stoa("preflight", path)[0] == 0
    code, _, err = stoa("preflight", path, "--cluster")
    assert code == 1
    assert "metadata.name: write small letters" in err


async def compared(tmp_path: Path, here: list[str], there: list[str], role: str = "cpi-admin") -> list[Difference]:
    """The differences of two catalogues, one of which a gateway serves."""
    settings = Settings(catalogue_path=(str(written(tmp_path / "here", *here)),), data_dir=tmp_path / "data")
    container = build_container(settings)
    result = await preflight_of(settings, container, as_objects=False)
    await container.close()
    path = str(written(tmp_path / "there", *there))
    async with serving(tmp_path / "served", catalogue_path=(path,)) as gateway:
        transport = httpx.ASGITransport(gateway.app)
        headers = {"authorization": f"Bearer {gateway.token(role, None if role == 'cpi-admin' else 'acme')}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", headers=headers) as client:
            return differences(result.catalogue, await served_entries(client, {None, ACME}))


async def test_preflight_tells_what_is_new_changed_and_only_served(tmp_path: Path) -> None:
    here = [manifest("a", URL, "acme"), manifest("b", URL, "acme", description="new words", tags=["x"])]
    there = [manifest("b", URL, "acme", description="old"), manifest("c", URL), manifest("same", URL)]
    assert await compared(tmp_path, [*here, manifest("same", URL)], there) == [
        Difference("only served", None, "tool", "c"),
        Difference("new", ACME, "tool", "a"),
        Difference("changed", ACME, "tool", "b", ("description", "tags")),
    ]


async def test_preflight_finds_no_difference_to_a_gateway_with_the_same_manifests(tmp_path: Path) -> None:
    prompt = """
apiVersion: gostoa.dev/v1alpha1
kind: Prompt
metadata: {name: hello, namespace: acme}
spec: {messages: [{text: hello}]}"""
    resource = """
apiVersion: gostoa.dev/v1alpha1
kind: Resource
metadata: {name: notes, namespace: acme}
spec: {uriTemplate: "memo://{topic}", endpoint: "http://127.0.0.1:9/{topic}"}"""
    manifests = [manifest(f"t{number:04}", URL, "acme") for number in range(1100)]
    assert await compared(tmp_path, [*manifests, prompt, resource], [*manifests, prompt, resource]) == []


async def test_preflight_against_nothing_says_what_to_check() -> None:
    async with client_of("http://127.0.0.1:9", None) as client:
        with pytest.raises(Unavailable, match=r"http://127.0.0.1:9/mcp/v1/tools cannot be reached; check --against"):
            await served_entries(client, {None})


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (401, "", InvalidInput, "set STOA_TOKEN"),
        (404, "not here", Unavailable, "answered 404"),
        (200, "<html>", Unavailable, "is the URL of a gateway"),
    ],
)
async def test_preflight_against_something_else_says_what_to_check(
    status: int, body: str, error: type[Exception], words: str
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, text=body))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9") as client:
        with pytest.raises(error, match=words):
            await served_entries(client, {None})
