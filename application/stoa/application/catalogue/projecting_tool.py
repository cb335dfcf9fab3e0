"""A compiled tool whose answers are projected.

What the policy hides is removed first: a projection could move it to where no pointer of the policy leads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pydantic_core

from stoa.application.answers.projected_calls import projections_of
from stoa.application.answers.projection import Projection, Unprojectable
from stoa.application.catalogue.compiled_operation import CompiledTool
from stoa.domain.operations.answer_rules import AnswerRules
from stoa.domain.results.redaction import redact
from stoa.domain.results.result import MISSING, RawAnswer, TextContent, ToolResult, parsed_whole, shape_long
from stoa.domain.schema.json_value import JsonObject, is_array, is_object

_NO_JSON = "The projection is not applied: the answer is no JSON, or holds too many values."
_NAMED = 20
"""Members that are named where a projection finds nothing."""


@dataclass(frozen=True, slots=True)
class ProjectingTool(CompiledTool):
    rules: AnswerRules

    def shape_answer(
        self, answer: RawAnswer | ToolResult, name: str, arguments: JsonObject, redacted: Sequence[str]
    ) -> ToolResult:
        projections = projections_of(self.rules, arguments)
        if not projections or answer.is_error:
            return self._shaped(answer, name, arguments, redacted)
        whole = answer.structured if isinstance(answer, ToolResult) else parsed_whole(answer)
        if whole is MISSING:
            unprojected = self._shaped(answer, name, arguments, redacted)
            return _with_note(
                unprojected, "The projection is not applied: the answer is no JSON, or holds too many values."
            )
        if redacted:
            visible = redact(ToolResult((), whole), redacted)
            if visible.is_error:
                return visible
            whole = visible.structured
        try:
            projected = _projected(whole, projections)
        except Unprojectable as unfit:
            result = self._fitted(self._written(whole, answer))
            return _with_note(result, f"The projection is not applied: {unfit}.")
        result = self._fitted(self._written(projected, answer))
        if projected is None:
            return _with_note(result, f"The projection finds nothing; {_outline(whole)}.")
        return result

    def _shaped(
        self, answer: RawAnswer | ToolResult, name: str, arguments: JsonObject, redacted: Sequence[str]
    ) -> ToolResult:
        return CompiledTool.shape_answer(self, answer, name, arguments, redacted)

    def _written(self, value: Any, answer: RawAnswer | ToolResult) -> ToolResult:
        body = pydantic_core.to_json(value, inf_nan_mode="null")
        return shape_long(RawAnswer(body, "application/json", headers=answer.headers), self.quick_bytes)

    def _fitted(self, result: ToolResult) -> ToolResult:
        return result if self.output is None else self.output.fit(result)


def _projected(value: Any, projections: Sequence[Projection]) -> Any:
    for each in projections:
        value = each.of(value)
    return value


def _with_note(result: ToolResult, note: str) -> ToolResult:
    return replace(result, content=(*result.content, TextContent(f"[{note}]")))


def _outline(value: Any) -> str:
    if is_object(value):
        return f"the answer has the members {', '.join(list(value)[:_NAMED])}"
    return f"the answer is an array of {len(value)} entries" if is_array(value) else "the answer has no members"
