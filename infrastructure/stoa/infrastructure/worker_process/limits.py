"""How much one run may take."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class WorkLimits:
    """Of one run; memory is that of the whole process, some 200 MiB of addresses are its own."""

    cpu_seconds: int = 60
    wall_seconds: float = 300.0
    """For a process that waits instead of computing; a busy machine must not turn good input into bad."""
    memory_bytes: int = 1536 * MIB
    result_bytes: int = 256 * MIB
