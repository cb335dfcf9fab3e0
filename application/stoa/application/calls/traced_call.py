"""The call to a back end as a span of a distributed trace."""

from stoa.application.calls.running_calls import RunningCall
from stoa.application.catalogue.compiled_operation import CompiledOperation
from stoa.application.ports.tool_backend import CallContext
from stoa.domain.results.result import RawAnswer, ToolResult
from stoa.domain.schema.json_value import JsonObject


async def call_traced(
    compiled: CompiledOperation, arguments: JsonObject, context: CallContext, call: RunningCall
) -> RawAnswer | ToolResult:
    """Call the back end within a span. Without a tracer the caller's trace is still passed on, with a span id made for
    this request, so that no two requests look like one."""
    if call.span is None:
        context.trace = None if call.invocation.trace is None else call.invocation.trace.child()
        return await compiled.call(arguments, context)
    context.span = call.span.child("call")
    context.trace = context.span.trace
    try:
        return await compiled.call(arguments, context)
    finally:
        context.span.end()
