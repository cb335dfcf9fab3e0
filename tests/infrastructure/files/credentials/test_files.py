"""What only secrets in files can show: Kubernetes' links, confinement to the secret's folder, and changes."""

import os
from pathlib import Path

import pytest

from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendUnavailable
from stoa.domain.operations.tool import SecretReference
from stoa.infrastructure.files.credentials import FileCredentialSource

ACME = TenantId("acme")


def read(directory: Path, key: str = "token", name: str = "pets") -> str:
    return FileCredentialSource(directory).read(ACME, SecretReference(name=name, key=key), "unused")


def mounted(directory: Path, revision: str, **entries: str) -> Path:
    """A secret as the kubelet writes it: files in a revision, `..data` to it, and a link for each key."""
    folder = directory / "acme" / "pets"
    (folder / revision).mkdir(parents=True)
    for key, value in entries.items():
        (folder / revision / key).write_text(value)
        if not (folder / key).is_symlink():
            (folder / key).symlink_to(f"..data/{key}")
    (folder / "..data_tmp").symlink_to(revision)
    (folder / "..data_tmp").rename(folder / "..data")
    return folder


def test_a_secret_mounted_by_kubernetes_is_read_and_its_rotation_seen(tmp_path):
    source = FileCredentialSource(tmp_path)
    mounted(tmp_path, "..2026_01", token="one")
    assert source.read(ACME, SecretReference(name="pets"), "token") == "one"

    mounted(tmp_path, "..2026_02", token="two")
    assert source.read(ACME, SecretReference(name="pets"), "token") == "two"


def test_trailing_line_ends_are_not_part_of_a_secret(tmp_path):
    mounted(tmp_path, "..2026_01", token=" t \r\n\n")

    assert read(tmp_path) == " t "


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path):
    folder = mounted(tmp_path, "..2026_01", token="one")
    file, source = folder / "..2026_01" / "token", FileCredentialSource(tmp_path)
    os.utime(file, (1, 1))
    assert source.read(ACME, SecretReference(name="pets"), "token") == "one"

    file.write_text("two")
    os.utime(file, (1, 1))
    assert source.read(ACME, SecretReference(name="pets"), "token") == "two"


def test_a_removed_secret_is_gone_at_once(tmp_path):
    folder, source = mounted(tmp_path, "..2026_01", token="one"), FileCredentialSource(tmp_path)
    source.read(ACME, SecretReference(name="pets"), "token")
    (folder / "token").unlink()

    with pytest.raises(BackendUnavailable, match="acme/pets/token"):
        source.read(ACME, SecretReference(name="pets"), "token")


@pytest.mark.parametrize("key", ["..", ".", "..data", "..2026_01"])
def test_a_key_that_names_a_folder_is_refused(tmp_path, key):
    mounted(tmp_path, "..2026_01", token="one")
    (tmp_path / "acme" / "token").write_text("of the folder above")

    with pytest.raises(BackendUnavailable):
        read(tmp_path, key)


@pytest.mark.parametrize("target", ["other/pets/token", "outside", "acme/toys/token"])
def test_a_link_out_of_the_folder_of_the_secret_is_refused(tmp_path, target):
    directory = tmp_path / "secrets"
    mounted(directory, "..2026_01", token="one")
    for place in ("other/pets/token", "outside", "acme/toys/token"):
        (directory / place).parent.mkdir(parents=True, exist_ok=True)
        (directory / place).write_text("s3cret")
    (directory / "acme" / "pets" / "stolen").symlink_to(directory / target)

    with pytest.raises(BackendUnavailable, match="outside the secret's own folder") as caught:
        read(directory, "stolen")
    assert "s3cret" not in str(caught.value)


def test_a_folder_that_is_a_link_to_another_tenant_is_refused(tmp_path):
    mounted(tmp_path, "..2026_01", token="one")
    (tmp_path / "other").symlink_to(tmp_path / "acme")

    with pytest.raises(BackendUnavailable, match="outside"):
        FileCredentialSource(tmp_path).read(TenantId("other"), SecretReference(name="pets"), "token")


def test_the_directory_of_secrets_may_itself_be_a_link(tmp_path):
    mounted(tmp_path / "real", "..2026_01", token="one")
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert read(tmp_path / "link") == "one"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * (1024 * 1024 + 1)])
def test_a_file_that_is_no_secret_is_refused(tmp_path, content):
    folder = mounted(tmp_path, "..2026_01", token="")
    (folder / "token").unlink()
    (folder / "token").write_bytes(content)

    with pytest.raises(BackendUnavailable, match="acme/pets/token"):
        read(tmp_path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    folder = mounted(tmp_path, "..2026_01", token="")
    os.mkfifo(folder / "pipe")

    with pytest.raises(BackendUnavailable, match="not a file"):
        read(tmp_path, "pipe")
