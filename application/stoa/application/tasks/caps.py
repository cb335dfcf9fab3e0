"""Bounds on the number and size of stored tasks, for each caller, each tenant and all."""

from dataclasses import dataclass

from stoa.domain.access.fair_share import Bound, Caps
from stoa.domain.errors import QuotaExceeded

_MIB = 1024 * 1024
_WHOSE = {Bound.CALLER: "the caller", Bound.TENANT: "the tenant", Bound.ALL: "all tenants"}


@dataclass(frozen=True, slots=True)
class TaskCaps:
    number: Caps = Caps(per_caller=1000, per_tenant=2500, total=10_000)
    size: Caps = Caps(per_caller=64 * _MIB, per_tenant=128 * _MIB, total=512 * _MIB)
    """Bytes of their records."""


TASK_CAPS = TaskCaps()

RUNNING_TASKS = Caps(per_caller=16, per_tenant=64, total=256)
"""Tasks that run at once in one process. No client waits for their answers, so no other limit holds them back."""


def refusal(bound: Bound, *, is_size: bool, retry_after_seconds: float) -> QuotaExceeded:
    """The error for a caller who meets a cap."""
    what = "stored bytes of the tasks" if is_size else "tasks"
    return QuotaExceeded(f"{what} of {_WHOSE[bound]}", max(0.0, retry_after_seconds))


def too_many_running(bound: Bound) -> QuotaExceeded:
    return QuotaExceeded(f"running tasks of {_WHOSE[bound]}", 1.0)
