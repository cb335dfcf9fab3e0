"""Token budgets: what lists may cost a model that reads them.

A tool costs what its name, its description and its portable input schema are counted as. A tool above its share is
shown in less: first its schema is written in fewer bytes (`stoa.domain.schema.portable_schema`), then its description
is cut. Arguments are checked against the whole schema in any case.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stoa.domain.operations.tool import Tool
from stoa.domain.schema.portable_words import cut

CountTokens = Callable[[str], int]
"""Tokens of a text. Laws: pure; equal texts have equal counts."""
_SIZES = (5_000, 4_000, 3_000, 2_200, 1_600, 1_200, 900, 600, 300, 0)
"""Bytes that a schema is tried in. With 0 there are the names of its members, their types, values and required ones."""
_DESCRIPTIONS = (400, 200, 100, 50)
"""Characters that a description is cut to where the least schema is still too much."""
_ROUNDS = 8
"""Upper bound on the times that shares are made smaller because some tools need more than theirs."""


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """Upper bounds in tokens; None: no bound."""

    per_tool: int | None = None
    total: int | None = None
    """Tokens of all tools of a list together."""

    def __bool__(self) -> bool:
        return self.per_tool is not None or self.total is not None


NO_BUDGET = TokenBudget()


@dataclass(frozen=True, slots=True)
class FittedTool:
    """A tool as a budget shows it."""

    tool: Tool
    tokens: int
    whole: int
    """Tokens of the tool without a budget."""


def listed_text(tool: Tool) -> str:
    """The parts of a tool that a model reads, as JSON."""
    listed = {"name": tool.name, "description": tool.description, "inputSchema": tool.portable_input_schema}
    return json.dumps(listed, ensure_ascii=False, separators=(",", ":"))


def fitted(tools: Sequence[Tool], budget: TokenBudget, count: CountTokens) -> list[FittedTool]:
    """The tools in their order, each within its share as far as its names and types allow.

    The share is the same for all of them: the largest at which they are together within the total, so that small tools
    stay whole. A tool that needs more than its share takes it from the others.
    """
    forms = [_Forms(tool, count) for tool in tools]
    share = _share(budget, [form.whole for form in forms])
    results = [form.within(share) for form in forms]
    for _ in range(_ROUNDS):
        if budget.total is None or sum(result.tokens for result in results) <= budget.total:
            break
        over = sum(result.tokens for result in results if result.tokens > share)
        free = [result.whole for result in results if result.tokens <= share]
        smaller = _share(TokenBudget(budget.per_tool, max(0, budget.total - over)), free)
        if not free or smaller >= share:
            break
        share = smaller
        results = [
            form.within(share) if result.tokens > share else result for form, result in zip(forms, results, strict=True)
        ]
    return results


def _share(budget: TokenBudget, sizes: Sequence[int]) -> int:
    """The tokens that each tool may have."""
    most = max(sizes, default=0) if budget.per_tool is None else budget.per_tool
    if budget.total is None:
        return most
    left, others = budget.total, len(sizes)
    for size in sorted(sizes):
        if size * others > left:
            return min(most, left // others)
        left -= size
        others -= 1
    return most


class _Forms:
    """The forms of one tool, each made and counted once."""

    def __init__(self, tool: Tool, count: CountTokens) -> None:
        self._tool = tool
        self._count = count
        self._made: dict[int, FittedTool] = {}
        self.whole = count(listed_text(tool))

    def within(self, share: int) -> FittedTool:
        """The largest form that fits into `share` tokens, or the least of all."""
        if self.whole <= share:
            return FittedTool(self._tool, self.whole, self.whole)
        low, high = 0, len(_SIZES) - 1  # the form at `high` fits, or is the least
        while low < high:
            middle = (low + high) // 2
            if self._in(_SIZES[middle]).tokens <= share:
                high = middle
            else:
                low = middle + 1
        least = self._in(_SIZES[low])
        for limit in _DESCRIPTIONS:
            if least.tokens <= share:
                break
            least = self._counted(least.tool.model_copy(update={"description": cut(self._tool.description, limit)}))
        return least

    def _in(self, size: int) -> FittedTool:
        if size not in self._made:
            self._made[size] = self._counted(self._tool.model_copy(update={"schema_size": size}))
        return self._made[size]

    def _counted(self, tool: Tool) -> FittedTool:
        return FittedTool(tool, self._count(listed_text(tool)), self.whole)
