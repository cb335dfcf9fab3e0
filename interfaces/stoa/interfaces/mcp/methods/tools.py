"""tools/list and tools/call."""

from stoa.application.gateway import Gateway
from stoa.application.ports.client_channel import ClientChannel
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.schema.json_value import JsonObject, is_object
from stoa.interfaces.mcp.client_requests.channels import Channels
from stoa.interfaces.mcp.client_requests.stateless import StatelessChannel
from stoa.interfaces.mcp.exchange import JSON, MethodCall, Refused, Reply
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.methods.invocations import invocation_of
from stoa.interfaces.mcp.methods.listing import Listing
from stoa.interfaces.mcp.methods.tasks import Tasks
from stoa.interfaces.mcp.wire.outcomes import result_of
from stoa.interfaces.mcp.wire.tool_answers import ToolAnswers
from stoa.interfaces.wire.errors import wire_error


class ToolMethods:
    def __init__(
        self, gateway: Gateway, channels: Channels, server_info: JsonObject, listing: Listing, tasks: Tasks
    ) -> None:
        self._tasks = tasks
        self._gateway = gateway
        self._channels = channels
        self._server_info = server_info
        self._answers = ToolAnswers(server_info)
        self._listing = listing

    async def list(self, call: MethodCall) -> bytes:
        return await self._listing.answer(call, self._gateway.list_tools, "tools")

    async def call(self, call: MethodCall) -> bytes | Reply:
        """tools/call, through the pipeline. A call that becomes a task goes on after the answer. Raises StoaError where
        the answer is no result."""
        invocation = invocation_of(call, "tool")
        if self._gateway.registry.has_tasks and self._tasks.may_begin(call, invocation.name):
            channel = self._channels.round(call)
            outcome = await self._tasks.call(call, invocation, channel)
            if isinstance(outcome, bytes):
                return outcome
            return self._answer(call, invocation, channel, outcome)
        opened = self._channels.open(call)
        if opened is None:  # as for most calls
            outcome = await self._gateway.invoke_operation.execute(invocation)
        else:
            outcome = await self._channels.execute(self._gateway.invoke_operation, invocation, opened)
        return self._answer(call, invocation, opened, outcome)

    def _answer(
        self, call: MethodCall, invocation: Invocation, channel: ClientChannel | None, outcome: Outcome
    ) -> bytes | Reply:
        if outcome.client_requests is not None and isinstance(channel, StatelessChannel):
            return messages.result(call.request.id, channel.input_required(outcome.client_requests, self._server_info))
        result = outcome.result if outcome.error is None else None
        if result is None:
            result = result_of(outcome, call.revision, has_arguments=is_object(invocation.arguments))
        answer = self._answers.write(call.request.id, result, call.revision, outcome.coerced, outcome.tolerated)
        error = outcome.error
        if error is None:
            return answer
        return Reply(200, answer, (JSON,), refusals=(Refused(error.refusal_reason, wire_error(error).http_status),))
