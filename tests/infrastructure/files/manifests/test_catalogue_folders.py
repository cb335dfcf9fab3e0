"""A catalogue whose folders and files vanish without anybody meaning it keeps its last good version, and says so."""

import asyncio
import json
import shutil
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from stoa.application.backends.static_backend import StaticBackend
from stoa.application.catalogue.catalogue_loader import CatalogueLoader
from stoa.application.catalogue.operation_registry import OperationRegistry
from stoa.application.manifests.spec_kinds import SpecKinds
from stoa.application.memory.spec_source import InMemorySpecSource
from stoa.infrastructure.files.manifests import FileToolSource
from stoa.testing.clock import ManualClock


def _resource(name: str) -> str:
    spec = {"uri": f"docs://{name}", "text": "x"}
    manifest = {"apiVersion": "gostoa.dev/v1alpha1", "kind": "Resource", "metadata": {"name": name}, "spec": spec}
    return json.dumps(manifest)  # JSON is YAML


class Catalogue:
    """A folder `catalogue` with `one.yaml` and `team/two.yaml`, and `single.yaml` by itself."""

    def __init__(self, place: Path) -> None:
        self.folder, self.single = place / "catalogue", place / "single.yaml"
        (self.folder / "team").mkdir(parents=True)
        for path in (self.folder / "one.yaml", self.folder / "team" / "two.yaml", self.single):
            path.write_text(_resource(path.stem), encoding="utf-8")
        self.source = FileToolSource([self.folder, self.single])
        self.registry = OperationRegistry([StaticBackend()])
        self.refresh = CatalogueLoader(
            sources=[self.source],
            specs=SpecKinds([], InMemorySpecSource()),
            registry=self.registry,
            clock=ManualClock(),
        )

    async def after(self, change: Callable[["Catalogue"], Any] = lambda _: None) -> list[str]:
        """What is there after a change, and a second look."""
        change(self)
        await self.refresh.execute()
        await self.refresh.execute()
        return sorted(one.identifier.removeprefix("docs://") for one in self.registry.catalogue.operations.values())

    @property
    def findings(self) -> list[str]:
        return [str(finding) for finding in self.refresh.findings]


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(tmp_path)


ALL = ["one", "single", "two"]


def _folder_away(at: Catalogue) -> None:
    at.folder.rename(at.folder.with_name("away"))


def _empty_folder_instead(at: Catalogue) -> None:
    """As a mount point is, once the volume is gone."""
    _folder_away(at)
    at.folder.mkdir()


def _team_unmounted(at: Catalogue) -> None:
    (at.folder / "team").rename(at.folder.with_name("away"))
    (at.folder / "team").mkdir()


def _link_to_nothing(at: Catalogue) -> None:
    target = at.folder / "one.yaml"
    target.unlink()
    target.symlink_to(at.folder / "..data" / "one.yaml")


def _file_instead(at: Catalogue) -> None:
    _folder_away(at)
    at.folder.write_text("")


@pytest.mark.parametrize(
    ("vanish", "kept"),
    [
        (_folder_away, ("one", "two")),
        (_empty_folder_instead, ("one", "two")),
        (_file_instead, ("one", "two")),
        (_team_unmounted, ("two",)),
        (_link_to_nothing, ("one",)),
    ],
)
async def test_catalogue_folder_that_vanishes_keeps_the_last_good_version_with_a_finding(
    catalogue: Catalogue, vanish: Callable[[Catalogue], None], kept: tuple[str, ...]
) -> None:
    assert await catalogue.after() == ALL
    assert await catalogue.after(vanish) == ALL
    for name in kept:
        assert any(f"{name}.yaml" in finding for finding in catalogue.findings), name
    assert sum("the last good version stays in use" in finding for finding in catalogue.findings) == len(kept)


async def test_catalogue_folder_that_is_back_has_no_finding_any_more(catalogue: Catalogue) -> None:
    await catalogue.after()
    await catalogue.after(_folder_away)
    (catalogue.folder.with_name("away") / "one.yaml").unlink()
    assert await catalogue.after(lambda at: at.folder.with_name("away").rename(at.folder)) == ["single", "two"]
    assert catalogue.findings == []


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n# one\n---\n# two\n", "---\n...\n"])
async def test_catalogue_file_without_a_manifest_keeps_the_last_good_version_with_a_finding(
    catalogue: Catalogue, text: str
) -> None:
    await catalogue.after()
    for path in (catalogue.folder / "one.yaml", catalogue.single):
        path.write_text(text, encoding="utf-8")
    assert await catalogue.after() == ALL
    assert sum("the last good version stays in use" in finding for finding in catalogue.findings) == 2
    (catalogue.folder / "one.yaml").write_text(_resource("three"), encoding="utf-8")
    assert await catalogue.after() == ["single", "three", "two"]


async def test_catalogue_file_that_never_held_a_manifest_is_no_finding(catalogue: Catalogue) -> None:
    (catalogue.folder / "notes.yaml").write_text("# later\n", encoding="utf-8")
    assert await catalogue.after() == ALL
    assert catalogue.findings == []


@pytest.mark.parametrize(
    ("delete", "left"),
    [
        (lambda at: (at.folder / "one.yaml").unlink(), ["single", "two"]),
        (lambda at: at.single.unlink(), ["one", "two"]),
        (lambda at: shutil.rmtree(at.folder / "team"), ["one", "single"]),
        (lambda at: [(at.folder / "one.yaml").unlink(), (at.folder / "team" / "two.yaml").unlink()], ["single"]),
    ],
)
async def test_catalogue_files_that_are_deleted_take_their_tools_along(
    catalogue: Catalogue, delete: Callable[[Catalogue], Any], left: list[str]
) -> None:
    assert await catalogue.after() == ALL
    assert await catalogue.after(delete) == left
    assert catalogue.findings == []


async def test_catalogue_folder_that_vanishes_and_comes_back_is_watched_on(catalogue: Catalogue) -> None:
    async def until(names: list[str], *, has_findings: bool) -> None:
        async with asyncio.timeout(30):
            while await catalogue.after() != names or bool(catalogue.findings) is not has_findings:
                await anext(changes)

    async with aclosing(catalogue.source.changes()) as changes:  # type: ignore[type-var]
        await until(ALL, has_findings=False)
        _folder_away(catalogue)
        await until(ALL, has_findings=True)
        catalogue.folder.mkdir()
        (catalogue.folder / "new.yaml").write_text(_resource("new"), encoding="utf-8")
        await until(["new", "single"], has_findings=False)
        (catalogue.folder / "late.yaml").write_text(_resource("late"), encoding="utf-8")
        await until(["late", "new", "single"], has_findings=False)
