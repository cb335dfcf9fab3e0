"""What only API descriptions in files can show."""

import os

import pytest

from stoa.domain.errors import InvalidInput
from stoa.infrastructure.specs import FileSpecSource, HttpSpecSource, SpecSourceByScheme


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
