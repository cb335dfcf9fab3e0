"""The dev issuer's signing key on disk: created once and shared by every process that uses the directory."""

import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from stoa.domain.errors import InvalidInput

FILE_NAME = "dev-issuer.jwk.json"


def load_or_create(directory: Path) -> ECKey:
    """The private ES256 key in `directory`, made on first use with mode 0600.

    Processes that start together end up with the same key. Raises InvalidInput, naming the file, when it cannot be
    made or used.
    """
    path = directory / FILE_NAME
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            create_unless_present(path)
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise InvalidInput(
                f"{path}: a private key that others can read; chmod 600 it, or delete it to get a new one"
            )
        return _load(path.read_bytes(), path)
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read or made ({error.strerror}); make its folder writable") from error


def create_unless_present(path: Path) -> None:
    """Writes a temporary file, then links it: the name appears with its whole content, and the first process wins."""
    key = ECKey.generate_key("P-256")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(key.as_dict(private=True), file)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()


def _load(content: bytes, path: Path) -> ECKey:
    key = _parse(content)
    if key is None or not key.is_private or key.curve_name != "P-256":
        raise InvalidInput(f"{path}: not a private P-256 key as a JWK; delete it to get a new one")
    return key


def _parse(content: bytes) -> ECKey | None:
    try:
        members: object = json.loads(content)
        if not isinstance(members, dict):
            return None
        return ECKey.import_key(cast("dict[str, Any]", members))
    except (JoseError, ValueError, LookupError, TypeError):  # errors of the decoders for a damaged file
        return None
