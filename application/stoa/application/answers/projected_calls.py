"""Calls of a tool whose callers may project the answer: the expression is checked before anything is sent, and the back
end does not get it."""

from stoa.application.answers.projection import BadExpression, Projection, projection
from stoa.application.ports.tool_backend import BackendCall, CallContext, Previewable
from stoa.domain.errors import InvalidArguments, InvalidInput, Violation
from stoa.domain.operations.answer_rules import AnswerRules
from stoa.domain.operations.tool import Tool
from stoa.domain.results.result import RawAnswer, ToolResult
from stoa.domain.schema.json_pointer import escape
from stoa.domain.schema.json_value import JsonObject


def with_projection(call: BackendCall, tool: Tool) -> BackendCall:
    """The call without the argument that projects its answer. Raises InvalidInput for a bad expression of the tool's
    author."""
    rules = tool.answer
    if rules.projection is not None:
        try:
            projection(rules.projection)
        except BadExpression as bad:
            raise InvalidInput(f"answer.projection is no JMESPath expression: {bad}") from bad
    if rules.projection_argument is None:
        return call
    form = _PreviewableCall if isinstance(call, Previewable) else _ProjectedCall
    return form(call, rules.projection_argument)


def projections_of(rules: AnswerRules, arguments: JsonObject) -> list[Projection]:
    """The projections of one answer, in order. Raises InvalidArguments."""
    texts = [] if rules.projection is None else [rules.projection]
    name = rules.projection_argument
    if name is not None and arguments.get(name) not in {None, ""}:
        texts.append(str(arguments[name]))
    try:
        return [projection(text) for text in texts]
    except BadExpression as bad:
        raise InvalidArguments([Violation(f"/{escape(name or '')}", f"a JMESPath expression: {bad}")]) from bad


class _ProjectedCall(BackendCall):
    def __init__(self, call: BackendCall, argument: str) -> None:
        self._call = call
        self._rules = AnswerRules(projection_argument=argument)

    async def __call__(self, arguments: JsonObject, context: CallContext) -> RawAnswer | ToolResult:
        return await self._call(self._without(arguments), context)

    def _without(self, arguments: JsonObject) -> JsonObject:
        projections_of(self._rules, arguments)
        return {name: value for name, value in arguments.items() if name != self._rules.projection_argument}


class _PreviewableCall(_ProjectedCall, Previewable):
    def preview(self, arguments: JsonObject) -> JsonObject:
        call = self._call
        return call.preview(self._without(arguments)) if isinstance(call, Previewable) else {}
