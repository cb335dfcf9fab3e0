"""Who may do what."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from stoa.domain.identity import Principal
from stoa.domain.policy import Decision, Door, PolicyQuery
from stoa.domain.tool import Tool


class PolicyEngine(Protocol):
    """Laws:

    - A query has one decision: equal queries get equal decisions while the policy is unchanged.
    - Deny wins: adding a denying rule never allows more; adding an allowing one never overrides a denial.
    - A tool of another tenant is denied unless the principal is a platform admin.
    - `visible` keeps, in the order given, every tool that `decide` may allow for some arguments, and none that is
      denied without a look at the arguments.
    - Raises PolicyUnavailable when it cannot decide. There is no default answer.
    """

    @abstractmethod
    async def decide(self, query: PolicyQuery) -> Decision: ...

    @abstractmethod
    async def visible(self, principal: Principal, tools: Sequence[Tool], door: Door) -> Sequence[Tool]:
        """The tools that this caller may list: one question for all of them."""
        ...
