"""What only files can get wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from stoa.application.backends.static_backend import StaticBackend
from stoa.application.catalogue.catalogue_loader import CatalogueLoader
from stoa.application.catalogue.operation_registry import OperationRegistry
from stoa.application.manifests.spec_kinds import SpecKinds
from stoa.application.memory.bounded_executor import InThreadExecutor
from stoa.application.memory.spec_source import InMemorySpecSource
from stoa.application.ports.tool_source import ManifestDocument
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import InvalidInput
from stoa.infrastructure.documents.manifest_content import MANIFEST_LIMIT
from stoa.infrastructure.files.manifests import FileToolSource
from stoa.infrastructure.worker_process import ProcessExecutor
from stoa.testing.clock import ManualClock


async def read(directory: Path, name: str, text: str) -> ManifestDocument:
    (directory / name).write_text(text, encoding="utf-8")
    (document,) = await FileToolSource([directory]).read()
    return document


async def test_a_json_manifest_may_escape_characters_beyond_the_first_plane(tmp_path: Path):
    document = await read(tmp_path, "tool.json", '{"kind": "Tool", "note": "\\ud83d\\ude00"}')
    assert document.content == {"kind": "Tool", "note": "\U0001f600"}


async def test_files_that_did_not_change_give_the_same_documents(tmp_path: Path):
    source = FileToolSource([tmp_path])
    (tmp_path / "a.yaml").write_text("kind: Tool\n---\nkind: Tool")
    first = await source.read()
    (tmp_path / "b.yaml").write_text("kind: [")
    second = await source.read()
    assert [document is known for document, known in zip(second, first, strict=False)] == [True, True]
    (tmp_path / "a.yaml").write_text("kind: Tool\n---\nkind: Prompt")
    third = await source.read()
    assert [document.content for document in third] == [{"kind": "Tool"}, {"kind": "Prompt"}, None]


async def test_broken_json_is_a_problem_that_names_the_line(tmp_path: Path):
    document = await read(tmp_path, "tool.json", '{\n"kind": ')
    assert document.content is None
    assert "line 2" in document.problem


async def test_aliases_that_multiply_are_refused(tmp_path: Path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    document = await read(tmp_path, "bomb.yaml", "\n".join(lines))
    assert document.content is None
    assert "aliases" in document.problem


async def test_an_alias_that_contains_itself_is_refused(tmp_path: Path):
    document = await read(tmp_path, "loop.yaml", "a: &a [*a]")
    assert document.content is None


async def test_nesting_that_would_end_the_process_is_a_problem_that_names_the_line(tmp_path: Path):
    document = await read(tmp_path, "deep.yaml", "kind: Tool\nspec: " + "[" * 100_000)
    assert document.content is None
    assert "line 2: nested deeper than 200 levels" in document.problem


def resource(name: str, **spec: Any) -> str:
    metadata = {"name": name, "namespace": "tenant-acme"}
    whole = {"uri": f"memo://{name}", "text": "x", **spec}
    return json.dumps({"apiVersion": "gostoa.dev/v1alpha1", "kind": "Resource", "metadata": metadata, "spec": whole})


async def test_a_manifest_bomb_is_a_finding_and_the_other_files_are_loaded(tmp_path: Path):
    levels = ["l0: &l0 {a: 1}"]
    levels += [f"l{n}: &l{n} {{<<: [*l{n - 1}, *l{n - 1}]}}" for n in range(1, 24)]
    (tmp_path / "bomb.yaml").write_text("\n".join(levels))
    (tmp_path / "good.yaml").write_text(resource("good"))
    executor = ProcessExecutor()
    registry = OperationRegistry([StaticBackend()])
    refresh = CatalogueLoader(
        sources=[FileToolSource([tmp_path], executor)],
        specs=SpecKinds([], InMemorySpecSource()),
        registry=registry,
        executor=executor,
        clock=ManualClock(),
    )
    try:
        (finding,) = await refresh.execute()
    finally:
        await executor.close()
    assert str(finding).startswith(f"error: {tmp_path / 'bomb.yaml'}: line 18: aliases expand to more than")
    assert [one.identifier for one in registry.catalogue.operations.values()] == ["memo://good"]


async def test_a_manifest_file_is_parsed_again_only_when_its_bytes_changed(tmp_path: Path):
    parsed: list[bytes] = []

    class Counting(InThreadExecutor):
        async def run(self, function: Any, *args: Any, **kwargs: Any) -> list[Any]:
            parsed.append(args[0])
            return await super().run(function, *args, **kwargs)

    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(f"a: {name}")
    source = FileToolSource([tmp_path], Counting())
    before = await source.read()
    assert await source.read() == before
    (tmp_path / "b.yaml").write_text("a: c")
    assert [document.content for document in await source.read()] == [{"a": "a"}, {"a": "c"}]
    assert parsed == [b"a: a", b"a: b", b"a: c"]


async def test_a_manifest_with_a_large_inline_description_is_handed_over_with_its_text(tmp_path: Path):
    description = {"openapi": "3.0.0", "paths": {f"/p{n}": {"get": {"summary": "x" * 100}} for n in range(20_000)}}
    spec = {"openAPISpec": {"inline": description}, "baseURL": "https://a.example"}
    manifest = {"apiVersion": "gostoa.dev/v1alpha1", "kind": "ToolSet", "metadata": {"name": "big"}, "spec": spec}
    document = await read(tmp_path, "big.yaml", json.dumps(manifest))
    assert document.content is not None
    inline = document.content["spec"]["openAPISpec"].pop("inline")
    assert json.loads(inline) == description
    assert document.content == {**manifest, "spec": {"openAPISpec": {}, "baseURL": "https://a.example"}}


async def test_a_manifest_larger_than_one_may_be_is_a_problem_and_its_neighbours_are_none(tmp_path: Path):
    (tmp_path / "two.yaml").write_text(f"a: {'x' * MANIFEST_LIMIT}\n---\na: 1\n---\n[1]")
    large, good, other = await FileToolSource([tmp_path]).read()
    assert "larger than 1048576 bytes" in large.problem
    assert good.content == {"a": 1}
    assert "expected a mapping" in other.problem


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("platform", "acme", "beta", "platform/acme"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name.replace('/', '-')}.yaml").write_text("kind: Tool")
    return tmp_path


async def owners(source: FileToolSource) -> dict[str, str | None]:
    return {Path(str(one.origin)).name: one.problem or one.tenant for one in await source.read()}


async def test_each_folder_has_its_owner_and_the_innermost_entry_counts(folders: Path):
    entries = [
        (folders / "platform" / "acme", TenantId("acme")),
        folders / "platform",
        (folders / "beta", TenantId("beta")),
    ]
    source = FileToolSource(entries)
    assert await owners(source) == {"platform-acme.yaml#1": "acme", "platform.yaml#1": None, "beta.yaml#1": "beta"}
    roots = {one.tenant: Path(one.root) for one in await source.read()}
    assert roots == {"acme": folders / "platform" / "acme", None: folders / "platform", "beta": folders / "beta"}


async def test_a_single_file_has_an_owner_and_may_name_files_beside_it(folders: Path):
    (document,) = await FileToolSource([(folders / "beta" / "beta.yaml", TenantId("beta"))]).read()
    assert (document.tenant, Path(document.root)) == ("beta", folders / "beta")


def test_a_folder_with_two_owners_is_refused(folders: Path):
    (folders / "again").symlink_to("acme")
    for other in (folders / "acme", folders / "again", folders / "beta" / ".." / "acme"):
        for tenant in (None, TenantId("beta")):
            with pytest.raises(InvalidInput, match="has two owners in the catalogue path"):
                FileToolSource([(folders / "acme", TenantId("acme")), (other, tenant)])


async def test_a_link_out_of_a_folder_is_not_read_in_its_owners_name(folders: Path):
    (folders / "acme" / "theirs.yaml").symlink_to(folders / "beta" / "beta.yaml")
    (folders / "acme" / "outside.yaml").symlink_to(folders / "platform" / "platform.yaml")
    (folders / "acme" / "ours.yaml").symlink_to("acme.yaml")
    (folders / "acme" / "folder").symlink_to(folders / "platform")
    source = FileToolSource([(folders / "acme", TenantId("acme")), (folders / "beta", TenantId("beta"))])
    found = await owners(source)
    refusal = "is a link that leads out of its catalogue folder"
    assert found.pop("theirs.yaml") == found.pop("outside.yaml") == refusal
    assert found == {"acme.yaml#1": "acme", "ours.yaml#1": "acme", "beta.yaml#1": "beta"}


async def test_files_that_kubernetes_mounts_as_links_are_read(folders: Path):
    (folders / "acme" / "..2026").mkdir()
    (folders / "acme" / "..2026" / "tool.yaml").write_text("kind: Tool")
    (folders / "acme" / "..data").symlink_to("..2026")
    (folders / "acme" / "tool.yaml").symlink_to("..data/tool.yaml")
    for entry in (folders / "acme", folders / "acme" / "tool.yaml"):
        found = await owners(FileToolSource([(entry, TenantId("acme"))]))
        assert found["tool.yaml#1"] == "acme"


async def test_a_file_that_two_entries_hold_is_read_once(folders: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folders)
    documents = await FileToolSource([Path("acme"), folders / "acme"]).read()
    assert [Path(str(one.origin)).name for one in documents] == ["acme.yaml#1"]


async def test_manifest_folder_may_hold_the_files_of_an_api_description(tmp_path: Path):
    (tmp_path / "api/paths").mkdir(parents=True)
    (tmp_path / "api/openapi.yaml").write_text("openapi: 3.1.0")
    (tmp_path / "api/paths/pets.yaml").write_text("get: {operationId: pets}")
    (tmp_path / "api/parameters.yaml").write_text("- {name: limit, in: query}")
    (tmp_path / "api/tool.yaml").write_text("kind: Tool")
    (tmp_path / "elsewhere.yaml").write_text("get: {}")
    documents = await FileToolSource([tmp_path]).read()
    assert {Path(str(document.origin.whole)).name for document in documents} == {"tool.yaml", "elsewhere.yaml"}
