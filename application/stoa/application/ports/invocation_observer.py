"""Who is told about finished invocations besides the metering sink: metrics and the audit trail."""

from abc import abstractmethod
from typing import Protocol

from stoa.domain.invocation import Invocation, Outcome


class InvocationObserver(Protocol):
    """Laws: told exactly once per finished invocation, after its metering event is kept; quick, does not block.

    What it raises is logged and does not change the outcome: the call has already happened.
    """

    @abstractmethod
    def finished(self, invocation: Invocation, outcome: Outcome) -> None: ...
