"""Secrets in files, as Kubernetes mounts them: <directory>/<tenant or _global>/<name>/<key>.

A file is read again only after it changed, which one `stat` per call detects. A path must resolve to the secret's own
folder: Kubernetes' `..data` links do, a link to another tenant's secret does not.
"""

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from stoa.application.ports import CredentialSource
from stoa.domain.access.identity import TenantId
from stoa.domain.operations.tool import SecretReference
from stoa.infrastructure.files.credentials.messages import not_usable

GLOBAL = "_global"
"""Folder of global tools. No tenant can have this name, because tenant names have no underscore."""
MAX_BYTES = 1024 * 1024
"""Upper bound on one secret: the size limit of a Kubernetes Secret."""

_SETTLED_NS = 2_000_000_000
"""A file changed again within one tick of the file system's clock looks unchanged; it is kept only when it is older."""

_Stamp = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Kept:
    stamp: _Stamp
    value: str

    def __repr__(self) -> str:
        return "_Kept(***)"


class FileCredentialSource(CredentialSource):
    """Secrets below `directory`. Trailing line ends are not part of a secret."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._cached_secrets: dict[tuple[str, str, str], _Kept] = {}

    def read(self, tenant: TenantId | None, reference: SecretReference, default_key: str) -> str:
        place = (tenant or GLOBAL, reference.name, reference.key or default_key)
        path = os.path.join(self._directory, *place)  # noqa: PTH118  # once per call: a Path costs ten times as much
        try:
            stamp = _stamp(os.stat(path))  # noqa: PTH116
            cached = self._cached_secrets.get(place)
            if cached is not None and cached.stamp == stamp:
                return cached.value
            return self._read(place)
        except _Unusable as error:
            why = f"{error}: {'/'.join(place)} in the directory of secrets"
        except OSError:
            why = f"put it into the file {'/'.join(place)} in the directory of secrets, readable for the gateway"
        except UnicodeDecodeError:
            why = f"the file {'/'.join(place)} in the directory of secrets is not UTF-8 text"
        self._cached_secrets.pop(place, None)
        raise not_usable(tenant, reference, place[2], why)

    def _read(self, place: tuple[str, str, str]) -> str:
        folder = self._directory.resolve() / place[0] / place[1]
        target = (folder / place[2]).resolve(strict=True)
        if place[2].startswith("..") or not target.is_relative_to(folder) or target == folder:
            raise _Unusable("the file lies outside the secret's own folder")
        descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123  # by descriptor, so that the file checked is the file read
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _Unusable("this is not a file")
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise _Unusable(f"the file is larger than {MAX_BYTES} bytes")
        value = content.decode().rstrip("\r\n")
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS:
            self._cached_secrets[place] = _Kept(_stamp(status), value)
        return value


class _Unusable(Exception):
    """A file cannot be used; the text gives the operator the reason."""


def _stamp(status: os.stat_result) -> _Stamp:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
