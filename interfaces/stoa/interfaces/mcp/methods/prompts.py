"""prompts/list and prompts/get."""

from stoa.application.gateway import Gateway
from stoa.domain.schema.json_value import JsonObject
from stoa.interfaces.mcp.client_requests.channels import Channels
from stoa.interfaces.mcp.client_requests.stateless import StatelessChannel
from stoa.interfaces.mcp.exchange import MethodCall
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.methods.invocations import invocation_of
from stoa.interfaces.mcp.methods.listing import Listing
from stoa.interfaces.wire import shaping
from stoa.interfaces.wire.prompts import prompt_description


class PromptMethods:
    def __init__(self, gateway: Gateway, channels: Channels, server_info: JsonObject, listing: Listing) -> None:
        self._gateway = gateway
        self._channels = channels
        self._server_info = server_info
        self._listing = listing

    async def list(self, call: MethodCall) -> bytes:
        return await self._listing.answer(call, self._gateway.list_prompts, "prompts")

    async def get(self, call: MethodCall) -> bytes:
        """prompts/get, through the pipeline. Raises StoaError; wrong arguments are invalid params here."""
        invocation = invocation_of(call, "prompt")
        channel = self._channels.open(call)
        outcome = await self._channels.execute(self._gateway.invoke_operation, invocation, channel)
        if outcome.client_requests is not None and isinstance(channel, StatelessChannel):
            return messages.result(call.request.id, channel.input_required(outcome.client_requests, self._server_info))
        wire: JsonObject = {"messages": shaping.prompt_messages(outcome.content(), call.revision)}
        description = prompt_description(self._gateway, outcome, invocation.name)
        if description:
            wire = {"description": description, **wire}
        return messages.result(call.request.id, shaping.with_meta(wire, call.revision, self._server_info))
