"""tools/list and tools/call."""

from stoa.application.gateway import Gateway
from stoa.domain.errors import (
    ClientCannot,
    ClientRefused,
    InvalidArguments,
    NotPermitted,
    StoaError,
    UpstreamAccessDenied,
)
from stoa.domain.invocation import Invocation, Outcome
from stoa.domain.json_value import JsonObject, is_object
from stoa.domain.result import ToolResult
from stoa.interfaces.mcp import messages, shaping
from stoa.interfaces.mcp.channel import Channels, RoundChannel
from stoa.interfaces.mcp.exchange import MethodCall
from stoa.interfaces.mcp.invocations import invocation_of
from stoa.interfaces.mcp.listing import Listing
from stoa.interfaces.mcp.revisions import Revision


class Tools:
    def __init__(self, gateway: Gateway, channels: Channels, server_info: JsonObject, listing: Listing) -> None:
        self._gateway = gateway
        self._channels = channels
        self._server_info = server_info
        self._listing = listing

    async def list(self, call: MethodCall) -> bytes:
        return await self._listing.answer(call, self._gateway.list_tools, "tools")

    async def call(self, call: MethodCall) -> bytes:
        """Runs the pipeline. Raises what the caller must be told outside of a result."""
        invocation = invocation_of(call, "tool")
        channel = self._channels.open(call)
        outcome = await self._gateway.invoke_tool.execute(invocation, channel)
        if outcome.questions is not None and isinstance(channel, RoundChannel):
            return messages.result(call.request.id, channel.next_round(outcome.questions, self._server_info))
        wire = shaping.tool_result(self._result(outcome, invocation, call.revision), call.revision)
        return messages.result(call.request.id, shaping.with_meta(wire, call.revision, self._server_info))

    def _result(self, outcome: Outcome, invocation: Invocation, revision: Revision) -> ToolResult:
        error = outcome.error
        if error is None and outcome.result is not None:
            return outcome.result
        if isinstance(error, InvalidArguments) and is_object(invocation.arguments):
            return ToolResult.error(error.message)  # a result, so that the model reads it and mends the call
        if isinstance(error, UpstreamAccessDenied) or (
            isinstance(error, NotPermitted) and not error.decision.missing_scopes
        ):
            return ToolResult.error(error.message)  # no other credential would help
        if isinstance(error, ClientRefused) or (isinstance(error, ClientCannot) and not revision.is_stateless):
            return ToolResult.error(error.message)
        raise error or StoaError("Internal error")
