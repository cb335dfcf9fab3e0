"""The calls in progress in this process: the stage of each, and their cancellation by a shutdown that does not wait for
them."""

import asyncio
from typing import Any

from stoa.application.calls.stages import RECEIVED, Stage, facts_of
from stoa.application.ports.invocation_observer import Span
from stoa.domain.calls.invocation import Invocation


class RunningCall:
    """One call in progress: its invocation, and the stage that it has reached. The pipeline moves it from stage to
    stage; facts found in a stage are stored in that stage alone."""

    __slots__ = ("event_id", "invocation", "is_cut", "request_id", "span", "stage", "started_ns", "task")

    def __init__(
        self, invocation: Invocation, event_id: str, started_ns: int, span: Span | None, task: asyncio.Task[Any] | None
    ) -> None:
        self.invocation = invocation
        self.event_id = event_id
        self.request_id = invocation.request_id or event_id
        self.started_ns = started_ns
        """Start of the call by the monotonic clock, in nanoseconds."""
        self.span = span
        """None if no observer follows calls from their start."""
        self.task = task
        self.stage: Stage = RECEIVED
        self.is_cut = False

    def take_back_cut(self) -> bool:
        """True if the cancellation that just arrived came from `RunningCalls.cut` and from no other source. It is then
        undone, so that the call can be answered."""
        return self.is_cut and self.task is not None and self.task.uncancel() == 0

    def labels(self) -> dict[str, str]:
        """Names of the call for logs, all of them the gateway's own: text that a caller wrote is not repeated."""
        facts = facts_of(self.stage)
        return {
            "request_id": self.event_id,
            "tool": "an unknown tool" if facts.operation is None else str(facts.operation.key),
            "tenant": "" if facts.principal is None else str(facts.principal.tenant or ""),
        }


class RunningCalls:
    def __init__(self) -> None:
        self.by_event: dict[str, RunningCall] = {}
        """Calls by event id. The pipeline enters each call before it does anything, and removes it before it meters
        it."""
        self.is_over = False
        """True after `cut`: no further call may go to its back end."""

    def __len__(self) -> int:
        return len(self.by_event)

    def cut(self) -> int:
        """Cancel every call in progress, and refuse later ones; returns their number. Each is metered, and its caller
        gets an answer."""
        self.is_over = True
        uncut = [call for call in self.by_event.values() if not call.is_cut]
        for call in uncut:
            call.is_cut = True
        # A call that reads a resource runs in the same task as that reading: one cancellation is for both.
        for task in {call.task for call in uncut}:
            if task is not None:
                task.cancel()
        return len(uncut)
