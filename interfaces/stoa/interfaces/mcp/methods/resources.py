"""resources/list, resources/templates/list and resources/read."""

from dataclasses import replace

from stoa.application.gateway import Gateway
from stoa.application.ports.session_store import Change
from stoa.domain.calls.session import MAX_WATCHED_RESOURCES, MAX_WATCHED_TEXT, Session
from stoa.domain.errors import ResourceNotFound
from stoa.domain.schema.json_value import JsonObject
from stoa.interfaces.mcp.client_requests.channels import Channels
from stoa.interfaces.mcp.client_requests.stateless import StatelessChannel
from stoa.interfaces.mcp.exchange import MethodCall
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.jsonrpc.messages import INVALID_PARAMS, INVALID_REQUEST, RESOURCE_NOT_FOUND, Fault
from stoa.interfaces.mcp.methods.invocations import invocation_of
from stoa.interfaces.mcp.methods.listing import Listing
from stoa.interfaces.mcp.streams.sessions import Sessions
from stoa.interfaces.wire import shaping

READ_TTL_MS = 0
"""Contents may change at any moment, and the gateway does not learn of it."""


class ResourceMethods:
    def __init__(
        self,
        gateway: Gateway,
        channels: Channels,
        server_info: JsonObject,
        listing: Listing,
        sessions: Sessions | None,
    ) -> None:
        self._sessions = sessions
        self._gateway = gateway
        self._channels = channels
        self._server_info = server_info
        self._listing = listing

    async def list(self, call: MethodCall) -> bytes:
        return await self._listing.answer(call, self._gateway.list_resources, "resources")

    async def templates(self, call: MethodCall) -> bytes:
        return await self._listing.answer(call, self._gateway.list_resources, "resourceTemplates", templates=True)

    async def subscribe(self, call: MethodCall) -> bytes:
        """resources/subscribe: notifications of changes of this resource, on the session's standalone stream."""
        uri, session = self._watched(call)
        await self._gateway.callers.limit(call.caller)
        key = await self._gateway.watch_resources.watchable(call.caller, call.exchange.tenant, uri, "mcp")
        if key is None:
            unknown = ResourceNotFound(uri)
            raise Fault(RESOURCE_NOT_FOUND, unknown.message, data={"uri": uri, "code": unknown.code})

        def watch(now: Session) -> Session:
            others = frozenset(entry for entry in now.watched if entry[0] != uri)
            if len(others) >= MAX_WATCHED_RESOURCES:
                raise Fault(INVALID_PARAMS, f"A session watches at most {MAX_WATCHED_RESOURCES} resources")
            if sum(len(watched_uri) for watched_uri, _ in others) + len(uri) > MAX_WATCHED_TEXT:
                raise Fault(INVALID_PARAMS, f"A session watches URIs of at most {MAX_WATCHED_TEXT} characters in all")
            return replace(now, watched=others | {(uri, key)})

        await self._change(session, watch)
        return messages.result(call.request.id, {})

    async def unsubscribe(self, call: MethodCall) -> bytes:
        """resources/unsubscribe. Succeeds for a resource that was not watched."""
        uri, session = self._watched(call)
        await self._gateway.callers.limit(call.caller)

        def forget(now: Session) -> Session:
            return replace(now, watched=frozenset(entry for entry in now.watched if entry[0] != uri))

        await self._change(session, forget)
        return messages.result(call.request.id, {})

    def _watched(self, call: MethodCall) -> tuple[str, Session]:
        uri = call.request.params.get("uri")
        if not isinstance(uri, str):
            raise Fault(INVALID_PARAMS, "params.uri must be a string")
        if call.session is None:
            raise Fault(INVALID_REQUEST, "A subscription needs a session")
        return uri, call.session

    async def _change(self, session: Session, change: Change) -> None:
        if self._sessions is not None:
            await self._sessions.watch(session, change)

    async def read(self, call: MethodCall) -> bytes:
        """resources/read, through the pipeline. Raises StoaError or Fault."""
        invocation = invocation_of(call, "resource")
        channel = self._channels.open(call)
        outcome = await self._channels.execute(self._gateway.invoke_operation, invocation, channel)
        if outcome.client_requests is not None and isinstance(channel, StatelessChannel):
            return messages.result(call.request.id, channel.input_required(outcome.client_requests, self._server_info))
        try:
            wire: JsonObject = {"contents": shaping.resource_contents(outcome.content())}
        except ResourceNotFound as unknown:
            code = INVALID_PARAMS if call.revision.is_stateless else RESOURCE_NOT_FOUND
            data = {"uri": invocation.name, "code": unknown.code}
            raise Fault(code, unknown.message, data=data, reason=unknown.refusal_reason) from unknown
        result = shaping.with_meta(wire, call.revision, self._server_info, ttlMs=READ_TTL_MS, cacheScope="private")
        return messages.result(call.request.id, result)
