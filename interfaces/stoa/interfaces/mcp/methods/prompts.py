"""prompts/list and prompts/get."""

from stoa.application.gateway import Gateway
from stoa.domain.calls.invocation import Outcome
from stoa.domain.schema.json_value import JsonObject
from stoa.interfaces.mcp.client_requests.channels import Channels, RoundChannel
from stoa.interfaces.mcp.exchange import MethodCall
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.methods.invocations import invocation_of
from stoa.interfaces.mcp.methods.listing import Listing
from stoa.interfaces.wire import shaping


class Prompts:
    def __init__(self, gateway: Gateway, channels: Channels, server_info: JsonObject, listing: Listing) -> None:
        self._gateway = gateway
        self._channels = channels
        self._server_info = server_info
        self._listing = listing

    async def list(self, call: MethodCall) -> bytes:
        return await self._listing.answer(call, self._gateway.list_prompts, "prompts")

    async def get(self, call: MethodCall) -> bytes:
        """Runs the pipeline. Raises what the caller must be told; wrong arguments are invalid params here."""
        invocation = invocation_of(call, "prompt")
        channel = self._channels.open(call)
        outcome = await self._channels.execute(self._gateway.invoke_operation, invocation, channel)
        if outcome.questions is not None and isinstance(channel, RoundChannel):
            return messages.result(call.request.id, channel.next_round(outcome.questions, self._server_info))
        wire: JsonObject = {"messages": shaping.prompt_messages(outcome.content(), call.revision)}
        description = described(self._gateway, outcome, invocation.name)
        if description:
            wire = {"description": description, **wire}
        return messages.result(call.request.id, shaping.with_meta(wire, call.revision, self._server_info))


def described(gateway: Gateway, outcome: Outcome, name: str) -> str:
    """What the prompt of a successful outcome says of itself."""
    tenant = None if outcome.principal is None else outcome.principal.tenant
    found = gateway.registry.catalogue.find(tenant, name, "prompt")
    return "" if found is None else found.description
