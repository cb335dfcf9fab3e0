"""The relay's position in one outbox, kept in a file that is replaced atomically.

Everything before it was acknowledged by the brokers, so an older cursor, or none, costs repetitions but never an event.
"""

import logging
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

FILE = "relay.json"
_log = logging.getLogger(__name__)


class Cursor(BaseModel):
    """The relay's position. Segments are identified by their file names, which are never reused."""

    model_config = ConfigDict(frozen=True)

    offsets: dict[str, NonNegativeInt] = {}
    """Bytes already forwarded, for each segment that is not finished."""
    finished: frozenset[str] = frozenset()
    """Segments whose events are all forwarded and that get no more."""
    relayed: NonNegativeInt = 0
    rejected: NonNegativeInt = 0


def load_cursor(directory: Path) -> Cursor:
    """The stored cursor; one at the beginning if there is none or it is damaged. Raises OSError."""
    try:
        return Cursor.model_validate_json((directory / FILE).read_bytes())
    except FileNotFoundError:
        return Cursor()
    except ValidationError:
        _log.warning("%s is damaged; the relay begins again, so that events will come a second time", directory / FILE)
        return Cursor()


def store_cursor(directory: Path, cursor: Cursor) -> None:
    """Stores the cursor; it is on the disk when this returns. Raises OSError."""
    replace_file(directory / FILE, cursor.model_dump_json().encode(), is_synced=True)


def relayed_segments(directory: Path) -> frozenset[str]:
    """Names of the segments that may be deleted: all their events are elsewhere. Raises OSError."""
    return load_cursor(directory).finished


def replace_file(path: Path, content: bytes, *, is_synced: bool) -> None:
    draft = path.with_name(f".{path.name}.draft")  # one relay at a time writes
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        if is_synced:
            os.fsync(file.fileno())
    draft.replace(path)
