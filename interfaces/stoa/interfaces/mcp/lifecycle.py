"""Who the server is and what it offers: initialize and ping (handshake era), server/discover (stateless era)."""

from dataclasses import replace

from stoa.application.gateway import Gateway
from stoa.domain.icon import Icon
from stoa.domain.json_value import JsonObject
from stoa.interfaces.mcp import asking, messages, shaping
from stoa.interfaces.mcp.channel import log_level
from stoa.interfaces.mcp.exchange import JSON, MethodCall, Reply
from stoa.interfaces.mcp.messages import INVALID_PARAMS, INVALID_REQUEST, Fault
from stoa.interfaces.mcp.revisions import MODERN, negotiate
from stoa.interfaces.mcp.sessions import Sessions
from stoa.interfaces.mcp.tasks import EXTENSION

INSTRUCTIONS = (
    "Tools, resources and prompts of the APIs behind the STOA MCP Gateway. "
    "Every call is authorised, limited and metered; an error result says what to change."
)
DISCOVER_TTL_MS = 300_000
LOGO = Icon(
    src="data:image/svg+xml,%3Csvg%20xmlns='http://www.w3.org/2000/svg'%20viewBox='0%200%2032%2032'%3E%3Cpath%20fill="
    "'%23246'%20d='M4%2010%2016%203l12%207v3H4zm2%205h4v10H6zm8%200h4v10h-4zm8%200h4v10h-4zM3%2027h26v3H3z'/%3E%3C/svg%3E",
    mime_type="image/svg+xml",
    sizes=("any",),
)
"""A stoa. Only introductions carry it; every result names the server, and would grow by it."""


class Lifecycle:
    """Without `sessions`, requests of the handshake era stand for themselves: there is no log level to set, and no
    stream to tell of changes on."""

    def __init__(self, version: str, gateway: Gateway, sessions: Sessions | None) -> None:
        self.server_info: JsonObject = {"name": "stoa-mcp-gateway", "title": "STOA MCP Gateway", "version": version}
        self._gateway = gateway
        self._sessions = sessions
        self._plain: JsonObject = {"tools": {}, "resources": {}, "prompts": {}, "completions": {}}
        changing: JsonObject = {name: {"listChanged": True} for name in ("tools", "resources", "prompts")}
        changing["resources"]["subscribe"] = True
        self._capabilities: JsonObject = {**self._plain, **changing, "logging": {}}

    async def initialize(self, call: MethodCall) -> Reply:
        """Never fails on the version: the client leaves if it cannot live with the answer."""
        params = call.request.params
        requested = params.get("protocolVersion")
        if not isinstance(requested, str):
            raise Fault(INVALID_PARAMS, "params.protocolVersion must be a string")
        revision = negotiate(requested)
        session = None
        if self._sessions is not None:
            await self._gateway.admission.limit(call.caller)  # a session takes room
            can = asking.capabilities(params.get("capabilities"), revision)
            session = await self._sessions.begin(call.caller, revision.name, can)
        info = {name: value for name, value in self.server_info.items() if name != "title" or revision.has_titles}
        info = shaping.with_icons(info, (LOGO,), revision)
        offered = self._plain if self._sessions is None else self._capabilities
        if not revision.has_completions_capability:
            offered = {name: value for name, value in offered.items() if name != "completions"}
        offer: JsonObject = {
            "protocolVersion": revision.name,
            "capabilities": offered,
            "serverInfo": info,
            "instructions": INSTRUCTIONS,
        }
        return Reply(200, messages.result(call.request.id, offer), (JSON,), session=session)

    async def set_level(self, call: MethodCall) -> bytes:
        """logging/setLevel, for the rest of the session."""
        level = log_level(call.request.params.get("level"))
        if call.session is None or self._sessions is None:
            raise Fault(INVALID_REQUEST, "A log level needs a session")
        await self._gateway.admission.limit(call.caller)
        await self._sessions.change(call.session, lambda session: replace(session, log_level=level))
        return messages.result(call.request.id, {})

    async def ping(self, call: MethodCall) -> bytes:
        return messages.result(call.request.id, {})

    async def discover(self, call: MethodCall) -> bytes:
        introduced = shaping.with_icons(dict(self.server_info), (LOGO,), call.revision)
        offer: JsonObject = {
            "supportedVersions": list(MODERN),
            "capabilities": {**self._capabilities, "extensions": {EXTENSION: {}}},
            "instructions": INSTRUCTIONS,
        }
        wire = shaping.with_meta(offer, call.revision, introduced, ttlMs=DISCOVER_TTL_MS, cacheScope="private")
        return messages.result(call.request.id, wire)
