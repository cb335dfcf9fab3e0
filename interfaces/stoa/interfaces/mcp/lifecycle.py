"""Who the server is and what it offers: initialize and ping (handshake era), server/discover (stateless era)."""

from dataclasses import replace

from stoa.application.gateway import Gateway
from stoa.domain.json_value import JsonObject
from stoa.interfaces.mcp import asking, messages, shaping
from stoa.interfaces.mcp.channel import log_level
from stoa.interfaces.mcp.exchange import JSON, MethodCall, Reply
from stoa.interfaces.mcp.messages import INVALID_PARAMS, INVALID_REQUEST, Fault
from stoa.interfaces.mcp.revisions import MODERN, negotiate
from stoa.interfaces.mcp.sessions import HEADER, Sessions

INSTRUCTIONS = (
    "Tools, resources and prompts of the APIs behind the STOA MCP Gateway. "
    "Every call is authorised, limited and metered; an error result says what to change."
)
DISCOVER_TTL_MS = 300_000


class Lifecycle:
    """Without `sessions`, requests of the handshake era stand for themselves: there is no log level to set, and no
    stream to tell of changes on."""

    def __init__(self, version: str, gateway: Gateway, sessions: Sessions | None) -> None:
        self.server_info: JsonObject = {"name": "stoa-mcp-gateway", "title": "STOA MCP Gateway", "version": version}
        self._gateway = gateway
        self._sessions = sessions
        self._plain: JsonObject = {"tools": {}, "resources": {}, "prompts": {}, "completions": {}}
        changing: JsonObject = {name: {"listChanged": True} for name in ("tools", "resources", "prompts")}
        self._capabilities: JsonObject = {**self._plain, **changing, "logging": {}}
        self._of_sessions: JsonObject = {
            **self._capabilities,
            "resources": {"listChanged": True, "subscribe": True},
        }

    async def initialize(self, call: MethodCall) -> Reply:
        """Never fails on the version: the client leaves if it cannot live with the answer."""
        params = call.request.params
        requested = params.get("protocolVersion")
        if not isinstance(requested, str):
            raise Fault(INVALID_PARAMS, "params.protocolVersion must be a string")
        revision = negotiate(requested)
        headers: list[tuple[bytes, bytes]] = [JSON]
        if self._sessions is not None:
            await self._gateway.admission.limit(call.caller)  # a session takes room
            can = asking.capabilities(params.get("capabilities"))
            session = await self._sessions.begin(call.caller, revision.name, can)
            headers.append((HEADER, session.id.encode("ascii")))
        info = {name: value for name, value in self.server_info.items() if name != "title" or revision.has_titles}
        offered = self._plain if self._sessions is None else self._of_sessions
        if not revision.has_completions_capability:
            offered = {name: value for name, value in offered.items() if name != "completions"}
        offer: JsonObject = {
            "protocolVersion": revision.name,
            "capabilities": offered,
            "serverInfo": info,
            "instructions": INSTRUCTIONS,
        }
        return Reply(200, messages.result(call.request.id, offer), tuple(headers))

    async def set_level(self, call: MethodCall) -> bytes:
        """logging/setLevel, for the rest of the session."""
        level = log_level(call.request.params.get("level"))
        if call.session is None or self._sessions is None:
            raise Fault(INVALID_REQUEST, "A log level needs a session")
        await self._sessions.change(call.session, lambda session: replace(session, log_level=level))
        return messages.result(call.request.id, {})

    async def ping(self, call: MethodCall) -> bytes:
        return messages.result(call.request.id, {})

    async def discover(self, call: MethodCall) -> bytes:
        offer: JsonObject = {
            "supportedVersions": list(MODERN),
            "capabilities": self._capabilities,
            "instructions": INSTRUCTIONS,
        }
        wire = shaping.with_meta(offer, call.revision, self.server_info, ttlMs=DISCOVER_TTL_MS, cacheScope="private")
        return messages.result(call.request.id, wire)
