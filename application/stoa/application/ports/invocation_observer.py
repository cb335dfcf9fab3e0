"""Who is told about finished invocations besides the metering sink: metrics and the audit trail."""

from abc import abstractmethod
from typing import Protocol, runtime_checkable

from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.metering.event import MeteringEvent, Status
from stoa.domain.policy.decision import Door


class InvocationObserver(Protocol):
    """Laws: told exactly once per finished invocation that has a metering event of its own, after that is kept (of the
    others a RefusalObserver hears); quick, does not block. Told
    likewise of each client request of an invocation: `outcome.client_request` says of which kind it was,
    `invocation` is the one that asked. A client request that the policy refused is told too, and its
    event is not kept.

    What it raises is logged and does not change the outcome: the call has already happened.
    """

    @abstractmethod
    def finished(self, invocation: Invocation, outcome: Outcome) -> None: ...


@runtime_checkable
class RefusalObserver(Protocol):
    """An InvocationObserver that hears of refused calls which have no metering event of their own.

    Laws: of every finished invocation either `finished` is told, or `refused` with it among the `calls`, never both.
    `summarised` is told of each event that stands for such calls, after it is kept. Both are quick and do not block.
    """

    @abstractmethod
    def refused(self, door: Door, status: Status, code: str, calls: int) -> None:
        """Told at once. `code`: of the error."""
        ...

    @abstractmethod
    def summarised(self, event: MeteringEvent, name: str) -> None:
        """`name`: what the first of the calls asked for, as it was sent."""
        ...
