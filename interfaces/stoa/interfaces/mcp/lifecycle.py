"""Who the server is and what it offers: initialize and ping (handshake era), server/discover (stateless era)."""

from stoa.domain.json_value import JsonObject
from stoa.interfaces.mcp import messages, shaping
from stoa.interfaces.mcp.exchange import MethodCall
from stoa.interfaces.mcp.messages import INVALID_PARAMS, Fault
from stoa.interfaces.mcp.revisions import MODERN, negotiate

INSTRUCTIONS = (
    "Tools, resources and prompts of the APIs behind the STOA MCP Gateway. "
    "Every call is authorised, limited and metered; an error result says what to change."
)
DISCOVER_TTL_MS = 300_000


class Lifecycle:
    def __init__(self, version: str) -> None:
        self.server_info: JsonObject = {"name": "stoa-mcp-gateway", "title": "STOA MCP Gateway", "version": version}
        self._capabilities: JsonObject = {"tools": {}, "resources": {}, "prompts": {}, "completions": {}}

    async def initialize(self, call: MethodCall) -> bytes:
        """Never fails on the version: the client leaves if it cannot live with the answer."""
        requested = call.request.params.get("protocolVersion")
        if not isinstance(requested, str):
            raise Fault(INVALID_PARAMS, "params.protocolVersion must be a string")
        revision = negotiate(requested)
        info = {name: value for name, value in self.server_info.items() if name != "title" or revision.has_titles}
        return messages.result(
            call.request.id,
            {
                "protocolVersion": revision.name,
                "capabilities": {
                    name: value
                    for name, value in self._capabilities.items()
                    if name != "completions" or revision.has_completions_capability
                },
                "serverInfo": info,
                "instructions": INSTRUCTIONS,
            },
        )

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
