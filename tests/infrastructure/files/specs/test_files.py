"""What only API descriptions in files can show."""

import os

import pytest

from stoa.domain.errors import InvalidInput
from stoa.infrastructure.files.specs import FileSpecSource, SpecSourceByScheme
from stoa.infrastructure.files.specs.files import _opened
from stoa.infrastructure.http_client.spec_source import HttpSpecSource


async def test_relative_paths_start_at_the_directory_and_absolute_ones_do_not(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "pets.yaml").write_text("x")
    source = FileSpecSource(tmp_path)

    assert (await source.fetch("a/pets.yaml")).text == "x"
    assert (await FileSpecSource().fetch(str(tmp_path / "a" / "pets.yaml"))).text == "x"


async def test_a_directory_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(InvalidInput, match="is a directory; name the file in it"):
        await FileSpecSource(tmp_path).fetch(".")


async def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(InvalidInput, match="not a regular file"):
        await FileSpecSource(tmp_path).fetch("pipe")


@pytest.mark.parametrize("location", ["a\0b", "x" * 5000, "pets.yaml/below"])
async def test_a_path_that_cannot_be_is_refused(tmp_path, location):
    (tmp_path / "pets.yaml").write_text("x")

    with pytest.raises(InvalidInput):
        await FileSpecSource(tmp_path).fetch(location)


@pytest.mark.parametrize("location", ["ftp://specs.test/pets.yaml", "file:///etc/passwd", "gopher://x"])
async def test_other_schemes_are_refused(location):
    source = SpecSourceByScheme(files=FileSpecSource(), remote=HttpSpecSource())

    with pytest.raises(InvalidInput, match="only http and https URLs and file paths"):
        await source.fetch(location)


async def test_a_file_that_is_missing_says_where_relative_paths_start(tmp_path):
    with pytest.raises(InvalidInput, match=r"^pets.yaml: no such file; check the path \(in a manifest, relative"):
        await FileSpecSource(tmp_path).fetch("pets.yaml")


@pytest.fixture
def neighbours(tmp_path):
    """Two teams' folders side by side; the second has what the first must not read."""
    for name in ("acme", "acme/specs", "beta"):
        (tmp_path / name).mkdir()
    (tmp_path / "acme" / "specs" / "pets.yaml").write_text("ours")
    (tmp_path / "beta" / "payroll.json").write_text("theirs")
    return tmp_path


@pytest.mark.parametrize(
    "location",
    [
        "acme/../beta/payroll.json",
        "beta/payroll.json",
        "acme/specs/../../beta/payroll.json",
        "acme/link.json",
        "acme/folder/payroll.json",
        "acme/absolute.json",
        "acme/circle.json",
        "acme/absent/../../beta/payroll.json",
        "acme/../beta/absent.json",
        "acme/../acme-too/payroll.json",
        "file:acme/../../beta/payroll.json",
        "",
    ],
)
async def test_a_file_outside_the_root_is_not_read_and_not_told_from_one_that_is_absent(neighbours, location):
    (neighbours / "acme-too").mkdir()
    (neighbours / "acme-too" / "payroll.json").write_text("theirs")
    (neighbours / "acme" / "link.json").symlink_to("../beta/payroll.json")
    (neighbours / "acme" / "absolute.json").symlink_to(neighbours / "beta" / "payroll.json")
    (neighbours / "acme" / "folder").symlink_to("../beta")
    (neighbours / "acme" / "circle.json").symlink_to("circle.json")
    for written in (location, str(neighbours / location)):
        with pytest.raises(InvalidInput) as refused:
            await FileSpecSource(neighbours).fetch(written, root="acme")
        if "beta" in location:
            assert "lies outside the catalogue folder of its manifest" in refused.value.message


@pytest.mark.parametrize("location", ["acme/specs/pets.yaml", "acme/specs/../specs/pets.yaml", "acme/link.yaml"])
async def test_a_file_below_the_root_is_read_also_over_links_that_stay_there(neighbours, location):
    """Kubernetes mounts files as links to a hidden folder beside them."""
    (neighbours / "acme" / "..data").symlink_to("specs")
    (neighbours / "acme" / "link.yaml").symlink_to("..data/pets.yaml")
    (neighbours / "entry").symlink_to("acme")
    for root in ("acme", str(neighbours / "acme"), "entry", "."):
        assert (await FileSpecSource(neighbours).fetch(location, root=root)).text == "ours"


async def test_a_link_that_appears_after_the_check_leads_nowhere(neighbours):
    root = neighbours / "acme"
    (root / "late").symlink_to(neighbours / "beta")
    for name in ("late/payroll.json", "late"):
        with pytest.raises(OSError, match=r"Too many levels of symbolic links|Not a directory"):
            _opened(root, root / name)
