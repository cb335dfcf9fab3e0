"""The token budget of the catalogue: the list of each tenant within it."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from stoa.application.manifests.token_budgets import on_unmet, within_budget
from stoa.application.ports.token_counter import TokenCounter
from stoa.domain.access.identity import TenantId
from stoa.domain.finding import Finding
from stoa.domain.operations.operation import Fingerprint, Operation
from stoa.domain.operations.token_budget import FittedTool, TokenBudget, fitted
from stoa.domain.operations.tool import Tool

_FIELD = "TOOL_TOKENS and CATALOGUE_TOKENS"


class CatalogueBudget:
    """Shows the tools of a catalogue in less, so that the list that each tenant sees stays within the budget.

    Global tools are in every list, so the longest list decides about them; the tools of other tenants share what is
    then left to their own lists."""

    def __init__(self, budget: TokenBudget, tokens: TokenCounter | None) -> None:
        """Raises InvalidInput without a counter."""
        within_budget([], budget, tokens, field=_FIELD)
        self._budget = budget
        self._tokens = tokens
        self._last: tuple[tuple[Fingerprint, ...], list[FittedTool], list[Finding]] = ((), [], [])

    def applied(
        self, operations: Sequence[Operation], rest: Callable[[], None]
    ) -> tuple[list[Operation], list[Finding]]:
        """The operations in their order, the tools as they are shown, and warnings where that is not enough. `rest` is
        called again and again, and may sleep."""
        tools = [each for each in operations if isinstance(each, Tool)]
        fingerprints = tuple(each.fingerprint for each in tools)
        if fingerprints != self._last[0]:  # counting all of them anew for an unchanged list takes seconds
            self._last = (fingerprints, *self._fitted(tools, rest))
        shown = iter(self._last[1])
        return [next(shown).tool if isinstance(each, Tool) else each for each in operations], self._last[2]

    def _fitted(self, tools: Sequence[Tool], rest: Callable[[], None]) -> tuple[list[FittedTool], list[Finding]]:
        tokens, budget = self._tokens, self._budget
        if tokens is None:
            return [], []

        def count(text: str) -> int:
            rest()
            return tokens.count(text)

        by_owner: defaultdict[TenantId | None, list[int]] = defaultdict(list)
        for number, tool in enumerate(tools):
            by_owner[tool.tenant].append(number)
        shared = by_owner.pop(None, [])
        owners = sorted(by_owner, key=lambda owner: (-len(by_owner[owner]), str(owner)))
        longest = [*shared, *(by_owner.pop(owners[0]) if owners else [])]
        results = dict(zip(longest, fitted([tools[number] for number in longest], budget, count), strict=True))
        findings = on_unmet([results[number] for number in longest], budget, tokens.name, "catalogue", field=_FIELD)
        of_all = sum(results[number].tokens for number in shared)
        for numbers in by_owner.values():
            left = None if budget.total is None else max(0, budget.total - of_all)
            own = fitted([tools[number] for number in numbers], TokenBudget(budget.per_tool, left), count)
            results |= dict(zip(numbers, own, strict=True))
        return [results[number] for number in range(len(tools))], findings
