"""resources/list, resources/templates/list and resources/read."""

from stoa.application.gateway import Gateway
from stoa.domain.errors import ResourceNotFound
from stoa.domain.invocation import Invocation
from stoa.domain.json_value import JsonObject
from stoa.interfaces.mcp import messages, shaping
from stoa.interfaces.mcp.exchange import MethodCall
from stoa.interfaces.mcp.listing import Listing
from stoa.interfaces.mcp.messages import INVALID_PARAMS, RESOURCE_NOT_FOUND, Fault

READ_TTL_MS = 0
"""Contents may change at any moment, and the gateway is not told."""


class Resources:
    def __init__(self, gateway: Gateway, server_info: JsonObject, listing: Listing) -> None:
        self._gateway = gateway
        self._server_info = server_info
        self._listing = listing

    async def list(self, call: MethodCall) -> bytes:
        return await self._listing.answer(call, self._gateway.list_resources, "resources")

    async def templates(self, call: MethodCall) -> bytes:
        return await self._listing.answer(call, self._gateway.list_resources, "resourceTemplates", templates=True)

    async def read(self, call: MethodCall) -> bytes:
        """Runs the pipeline. Raises what the caller must be told."""
        uri = call.request.params.get("uri")
        if not isinstance(uri, str):
            raise Fault(INVALID_PARAMS, "params.uri must be a string")
        exchange = call.exchange
        outcome = await self._gateway.invoke_tool.execute(
            Invocation(
                credential=call.caller,
                tool=uri,
                arguments={},
                door="mcp",
                tenant=exchange.tenant,
                request_id=exchange.request_id,
                consumer=exchange.consumer,
                kind="resource",
            )
        )
        try:
            wire: JsonObject = {"contents": shaping.resource_contents(outcome.content())}
        except ResourceNotFound as unknown:
            code = INVALID_PARAMS if call.revision.is_stateless else RESOURCE_NOT_FOUND
            raise Fault(code, unknown.message, data={"uri": uri, "code": unknown.code}) from unknown
        result = shaping.with_meta(wire, call.revision, self._server_info, ttlMs=READ_TTL_MS, cacheScope="private")
        return messages.result(call.request.id, result)
