"""Limits of one run."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class WorkLimits:
    """Limits of one run. Memory counts the address space of the whole process, which takes some 200 MiB by itself."""

    cpu_seconds: int = 60
    wall_seconds: float = 300.0
    """Wall-clock bound for a process that waits instead of computing; generous, so that a busy machine does not fail
    good input."""
    memory_bytes: int = 1536 * MIB
    result_bytes: int = 256 * MIB
