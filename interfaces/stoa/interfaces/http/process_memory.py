"""Memory of a process that does nothing but serve. A server sets it, never an application: it holds for the whole
process, which may be another program's."""

import ctypes
import gc
from contextlib import suppress

_M_MMAP_THRESHOLD = -3
"""As glibc's malloc.h numbers it."""


def quieten_collector() -> None:
    """The catalogue lives as long as the process: looking through it again and again would be pauses in calls (40 ms at
    the 99th percentile before this was here). Calls themselves leave hardly any cycles behind."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def return_large_blocks() -> None:
    """Blocks of a megabyte go back to the system when they are freed. After the first large answer glibc would keep
    them: 120 of them left 240 MB behind for good."""
    with suppress(AttributeError, OSError, TypeError):  # another C library, or none to be found
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1024 * 1024)
