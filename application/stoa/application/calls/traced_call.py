"""The call to a back end as a part of a distributed trace."""

from stoa.application.calls.running_calls import RunningCall
from stoa.application.catalogue.compiled_operation import CompiledOperation
from stoa.application.ports.tool_backend import CallContext
from stoa.domain.results.result import RawAnswer, ToolResult
from stoa.domain.schema.json_value import JsonObject


async def call_traced(
    compiled: CompiledOperation, arguments: JsonObject, context: CallContext, call: RunningCall
) -> RawAnswer | ToolResult:
    """Call the back end within a span of its own. Without a tracer the caller's trace still goes on to it, with an id
    of this request, so that no two look like one."""
    if call.span is None:
        context.trace = None if call.invocation.trace is None else call.invocation.trace.child()
        return await compiled.call(arguments, context)
    context.span = call.span.child("call")
    context.trace = context.span.trace
    try:
        return await compiled.call(arguments, context)
    finally:
        context.span.end()
