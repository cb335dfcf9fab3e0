"""Messages between the gateway and its worker: a kind (one byte), a length (eight bytes, big-endian), the body.

To the worker go pickled runs. Back come any number of ITEMS, then DONE, REFUSED, FAILED or EXHAUSTED, whose body is
text; after EXHAUSTED the worker ends. All
items of a run are written by one pickler and read by one unpickler: parts that they share are sent once.
"""

import importlib
import io
import pickle
import sys
from collections.abc import Iterator
from typing import Any

from stoa.domain.value import Value

RUN, ITEMS, DONE, REFUSED, FAILED, EXHAUSTED = b"R", b"I", b"D", b"N", b"F", b"X"
HEAD_BYTES = 9


def packed(kind: bytes, body: bytes) -> bytes:
    return head(kind, len(body)) + body


def head(kind: bytes, length: int) -> bytes:
    return kind + length.to_bytes(HEAD_BYTES - 1, "big")


def unpacked(read: bytes) -> tuple[bytes, int]:
    """The kind and length of the message after a head."""
    return read[:1], int.from_bytes(read[1:HEAD_BYTES], "big")


def items_of(bodies: bytes) -> Iterator[Any]:
    """The items in the bodies of all ITEMS of a run, one by one, so that other threads get their turn in between.
    Raises pickle.UnpicklingError."""
    file = io.BytesIO(bodies)
    unpickler = _ValuesUnpickler(file)
    while file.tell() < len(bodies):
        yield unpickler.load()


class _ValuesUnpickler(pickle.Unpickler):
    """Unpickles values only: the worker read hostile text and must not gain control of the process that serves
    calls."""

    def find_class(self, module: str, name: str) -> Any:
        named = getattr(importlib.import_module(module), name, None) if _is_known(module, name) else None
        # A back end's own values: nothing is imported for them, because the gateway that wants them has its back end.
        named = named or _loaded_value(module, name)
        if not isinstance(named, type) or named.__module__ != module:
            raise pickle.UnpicklingError(f"{module}.{name} is no value")
        return named


_BUILTINS = frozenset({"set", "frozenset", "complex", "bytearray"})


def _is_known(module: str, name: str) -> bool:
    if module == "builtins":
        return name in _BUILTINS
    return module.startswith(("stoa.domain.", "stoa.application."))


def _loaded_value(module: str, name: str) -> type | None:
    named = getattr(sys.modules.get(module), name, None)
    return named if isinstance(named, type) and issubclass(named, Value) else None
