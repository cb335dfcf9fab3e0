"""The worker: reads runs from its standard input, a socket, and answers there, until the other side is closed."""

import ctypes
import gc
import importlib
import io
import os
import pickle
import signal
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from stoa.domain.errors import InvalidInput
from stoa.infrastructure.worker_process.limits import MIB, WorkLimits
from stoa.infrastructure.worker_process.wire import (
    DONE,
    EXHAUSTED,
    FAILED,
    HEAD_BYTES,
    ITEMS,
    REFUSED,
    packed,
    unpacked,
)

_CHUNK_BYTES = 256 * 1024
_PR_SET_PDEATHSIG = 1


def main(parent: int, limits: WorkLimits, modules: Iterable[str] = ()) -> None:
    """Runs the worker. `parent`: the process that started this one; the worker ends with it. `modules`: imported before
    the first run."""
    _end_with(parent)
    _limit(limits)
    for name in modules:
        with suppress(ImportError):  # an extra that is not installed: said where it is used
            importlib.import_module(name)
    with socket.socket(fileno=os.dup(0)) as channel:
        runs = channel.makefile("rb")
        while len(read := runs.read(HEAD_BYTES)) == HEAD_BYTES:
            _, length = unpacked(read)
            body = runs.read(length)
            if len(body) < length:
                return
            _allow_seconds(limits.cpu_seconds)
            # A run makes values that stay until they are sent, which the collector would scan again and again.
            gc.disable()
            goes_on = _answer(channel, body, limits)
            gc.enable()
            if not goes_on:
                return


def _answer(channel: socket.socket, body: bytes, limits: WorkLimits) -> bool:
    """Executes a run and sends its result. False: this process must not go on."""
    try:
        function, args, kwargs = pickle.loads(body)  # noqa: S301  # from the process that started this one
        del body
        _send_items(channel, function(*args, **kwargs), limits.result_bytes)
        last = packed(DONE, b"")
    except InvalidInput as refused:
        last = packed(REFUSED, refused.message.encode("utf-8", "replace"))
    except MemoryError:
        channel.sendall(packed(EXHAUSTED, f"needs more than {limits.memory_bytes // MIB} MiB of memory".encode()))
        return False
    except RecursionError:
        last = packed(REFUSED, b"is nested too deeply")
    except Exception as failure:  # noqa: BLE001  # sent to the gateway, which has the log
        last = packed(FAILED, _place_of(failure).encode("utf-8", "replace"))
    channel.sendall(last)
    return True


def _send_items(channel: socket.socket, items: Any, limit: int) -> None:
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol=5)
    sent = 0

    def send() -> None:
        nonlocal sent
        sent += buffer.tell()
        if sent > limit:
            raise InvalidInput(f"yields more than {limit // MIB} MiB; split it, or select less of it")
        channel.sendall(packed(ITEMS, buffer.getvalue()))
        buffer.seek(0)
        buffer.truncate()

    for item in items:
        pickler.dump(item)
        if buffer.tell() >= _CHUNK_BYTES:
            send()
    if buffer.tell():
        send()


def _place_of(failure: Exception) -> str:
    """The type and place of an unexpected error, without its message, which may quote the input."""
    place = failure.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "" if place is None else f" at {place.tb_frame.f_globals.get('__name__')}:{place.tb_lineno}"
    return f"{type(failure).__name__}{where}"


def _end_with(parent: int) -> None:
    """Makes this process die with `parent`, even in the middle of a run. On systems that cannot, the closed socket ends
    it later."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if sys.platform != "win32" and os.getppid() != parent:
        sys.exit(0)


def _limit(limits: WorkLimits) -> None:
    if sys.platform == "win32":
        return
    import resource

    for kind, most in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        with suppress(OSError, ValueError):  # macOS knows no limit of memory
            resource.setrlimit(kind, (most, most))


def _allow_seconds(seconds: int) -> None:
    """Limits CPU time from now on; the system kills a process that takes more."""
    if sys.platform == "win32":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime) + 1 + seconds
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))
