"""The secret of this deployment: random bytes in a file, made on first use, the same for all workers."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from stoa.domain.errors import InvalidInput

FILE_NAME = "deployment.secret"
_BYTES = 32


def load_or_create(directory: Path) -> bytes:
    """32 random bytes in `directory`, mode 0600. Processes that start together end up with the same ones.

    Raises InvalidInput, naming the file, when it cannot be made or used.
    """
    path = directory / FILE_NAME
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _create_unless_present(path)
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise InvalidInput(f"{path}: a secret that others can read; chmod 600 it, or delete it to get a new one")
        secret = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read or made ({error.strerror}); make its folder writable") from error
    if len(secret) != _BYTES:
        raise InvalidInput(f"{path}: expected {_BYTES} bytes; delete it to get a new one")
    return secret


def _create_unless_present(path: Path) -> None:
    """Writes a temporary file, then links it: the name appears with its whole content, and the first process wins."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
