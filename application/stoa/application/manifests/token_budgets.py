"""Token budgets of manifests: the tools of one ToolSet, or one tool, within `spec.tokenBudget`."""

from collections.abc import Iterable, Mapping, Sequence

from stoa.application.ports.token_counter import TokenCounter
from stoa.domain.errors import InvalidInput
from stoa.domain.finding import Finding, warning
from stoa.domain.operations.token_budget import FittedTool, TokenBudget, fitted
from stoa.domain.operations.tool import Tool

FIELD = "spec.tokenBudget"


def within_budget(
    tools: Sequence[Tool], budget: TokenBudget, counter: TokenCounter | None, *, field: str = FIELD
) -> list[FittedTool]:
    """The tools as the budget shows them, in their order. Raises InvalidInput without a counter."""
    if counter is None:
        raise InvalidInput(f"{field}: counting tokens needs the extra `tokens` (pip install stoa-mcp-gateway[tokens])")
    return fitted(tools, budget, counter.count)


def notes_on_shown(shown: Iterable[FittedTool], places: Mapping[str, str], tokenizer: str) -> list[Finding]:
    """A note for each tool that is shown in less, for the conversion report. `places`: where the description has its
    operation, by the name of the tool."""
    return [
        warning(
            places.get(each.tool.name, str(each.tool.key)),
            f"shown in {each.tokens} tokens instead of {each.whole} ({tokenizer}), as {FIELD} asks; arguments are "
            "checked against the whole schema",
        )
        for each in shown
        if each.tokens < each.whole
    ]


def on_unmet(
    shown: Sequence[FittedTool], budget: TokenBudget, tokenizer: str, where: str, *, field: str = FIELD
) -> list[Finding]:
    """Warnings for the parts of a budget that no form of the tools meets."""
    findings: list[Finding] = []
    large = [each for each in shown if budget.per_tool is not None and each.tokens > budget.per_tool]
    if large:
        names = ", ".join(each.tool.name for each in large[:5]) + (", …" if len(large) > 5 else "")
        message = (
            f"{field}: {budget.per_tool} tokens ({tokenizer}) are too few for the names and types of {len(large)} "
            f"tools: {names}; the largest needs {max(each.tokens for each in large)}"
        )
        findings.append(warning(where, message))
    total = sum(each.tokens for each in shown)
    if budget.total is not None and total > budget.total:
        message = (
            f"{field}: {len(shown)} tools need {total} tokens ({tokenizer}) at least, more than {budget.total}; "
            "select fewer operations"
        )
        findings.append(warning(where, message))
    return findings
