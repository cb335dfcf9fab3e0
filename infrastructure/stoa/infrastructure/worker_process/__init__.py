"""Work of unknown cost in a process of its own, with limits of time and memory."""

from stoa.infrastructure.worker_process.executor import ProcessExecutor
from stoa.infrastructure.worker_process.limits import WorkLimits

__all__ = ["ProcessExecutor", "WorkLimits"]
