"""Who is told about finished invocations besides the metering sink: metrics and the audit trail."""

from abc import abstractmethod
from typing import Protocol

from stoa.domain.invocation import Invocation, Outcome


class InvocationObserver(Protocol):
    """Laws: told exactly once per finished invocation, after its metering event is kept; quick, does not block. Told
    likewise of each question that an invocation asked its client: `outcome.question` says what kind of question it was,
    `invocation` is the one that asked. A question that the policy refused is told too, and its event is not kept.

    What it raises is logged and does not change the outcome: the call has already happened.
    """

    @abstractmethod
    def finished(self, invocation: Invocation, outcome: Outcome) -> None: ...
