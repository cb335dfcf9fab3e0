"""The machine's own clock."""

import time
from datetime import UTC, datetime
from functools import partial

from stoa.application.ports import Clock


class SystemClock(Clock):
    """The time of this machine. Every call asks for it several times, so there is no Python function in between."""

    now = staticmethod(partial(datetime.now, UTC))  # pyright: ignore[reportAssignmentType]  # called alike
    monotonic_ns = staticmethod(time.monotonic_ns)  # pyright: ignore[reportAssignmentType]
