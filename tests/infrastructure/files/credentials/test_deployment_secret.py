"""The deployment's secret on disk."""

from pathlib import Path

import pytest

from stoa.domain.errors import InvalidInput
from stoa.infrastructure.files.credentials.deployment_secret import FILE_NAME, load_or_create


def test_the_secret_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    first = load_or_create(tmp_path / "new")
    assert len(first) == 32
    assert load_or_create(tmp_path / "new") == first != load_or_create(tmp_path / "other")
    assert (tmp_path / "new" / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "new").iterdir()] == [FILE_NAME]


@pytest.mark.parametrize(("content", "mode", "advice"), [(b"short", 0o600, "delete it"), (bytes(32), 0o644, "chmod")])
def test_a_secret_that_cannot_be_trusted_is_refused_by_name(
    tmp_path: Path, content: bytes, mode: int, advice: str
) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(InvalidInput, match=f"{FILE_NAME}.*{advice}"):
        load_or_create(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match=FILE_NAME):
        load_or_create(tmp_path / "file")
