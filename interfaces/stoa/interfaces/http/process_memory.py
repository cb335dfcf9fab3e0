"""Memory settings of a process that only serves. Set by the server, never by an application, because they hold for the
whole process, which may belong to another program."""

import ctypes
import gc
from contextlib import suppress

_M_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD in glibc's malloc.h."""


def quieten_collector() -> None:
    """Makes the garbage collector run rarely. It would scan the catalogue, which lives as long as the process, again
    and again, and pause calls (40 ms at the 99th percentile without this). Calls themselves leave hardly any cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def return_large_blocks() -> None:
    """Returns freed blocks of a megabyte to the system. After the first large answer glibc would keep them: 120 of them
    kept 240 MB for good."""
    with suppress(AttributeError, OSError, TypeError):  # another C library, or none to be found
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1024 * 1024)
