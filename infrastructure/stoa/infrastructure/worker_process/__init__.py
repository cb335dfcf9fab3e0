"""Work of unknown cost in a process of its own, with limits of time and memory."""

from stoa.infrastructure.worker_process.executor import IDLE_SECONDS, ProcessExecutor
from stoa.infrastructure.worker_process.limits import WorkLimits

__all__ = ["IDLE_SECONDS", "ProcessExecutor", "WorkLimits"]
