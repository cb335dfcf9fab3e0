"""Decides what a caller may do."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol, TypeVar

from stoa.domain.access.identity import Principal
from stoa.domain.operations.operation import Operation
from stoa.domain.policy.decision import Decision, Door, PolicyQuery

O = TypeVar("O", bound=Operation)  # noqa: E741  # an operation of one kind


class PolicyEngine(Protocol):
    """Laws:

    - A query has one decision: equal queries get equal decisions while the policy is unchanged.
    - Deny wins: adding a denying rule never allows more; adding an allowing one never overrides a denial.
    - A query with a client request is decided as the one without, and then by the request: it never allows more.
    - An operation (tool, resource, prompt) of another tenant is denied unless the principal is a platform admin.
    - `visible` keeps, in the order given, everything that `decide` may allow for some arguments, and none that is
      denied without a look at the arguments.
    - Raises PolicyUnavailable when it cannot decide. There is no default answer.
    """

    @abstractmethod
    async def decide(self, query: PolicyQuery) -> Decision: ...

    @abstractmethod
    async def visible(self, principal: Principal, tools: Sequence[O], door: Door) -> Sequence[O]:
        """The operations that this caller may list, by one query for all of them."""
        ...
