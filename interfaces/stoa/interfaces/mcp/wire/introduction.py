"""The gateway's introduction of itself: the results of initialize and server/discover.

Nothing here needs the gateway, so that `front.py` can answer before it is there. For that reason this module, and what
it imports, imports neither the domain's models nor any use case (tests/interfaces/test_start_up_imports.py).
"""

from stoa.domain.schema.json_value import JsonObject
from stoa.interfaces.mcp.jsonrpc.messages import INVALID_PARAMS, Fault
from stoa.interfaces.wire.revisions import SERVER_INFO_KEY, STATELESS_REVISIONS, Revision, negotiate

INSTRUCTIONS = (
    "Tools, resources and prompts of the APIs behind the STOA MCP Gateway. "
    "Every call is authorised, limited and metered; an error result says what to change."
)
DISCOVER_TTL_MS = 300_000
TASKS_EXTENSION = "io.modelcontextprotocol/tasks"
LOGO: JsonObject = {
    "src": "data:image/svg+xml,%3Csvg%20xmlns='http://www.w3.org/2000/svg'%20viewBox='0%200%2032%2032'%3E%3Cpath%20fill="
    "'%23246'%20d='M4%2010%2016%203l12%207v3H4zm2%205h4v10H6zm8%200h4v10h-4zm8%200h4v10h-4zM3%2027h26v3H3z'/%3E%3C/svg%3E",
    "mimeType": "image/svg+xml",
    "sizes": ["any"],
}
"""A stoa. Introductions alone carry it: every other result names the server too, and would grow by it."""


class Introduction:
    """The results of initialize and server/discover. Without sessions they offer no log level to set, and no
    notifications of changes."""

    def __init__(self, version: str, *, has_sessions: bool) -> None:
        self.server_info: JsonObject = {"name": "stoa-mcp-gateway", "title": "STOA MCP Gateway", "version": version}
        plain: JsonObject = {"tools": {}, "resources": {}, "prompts": {}, "completions": {}}
        changing: JsonObject = {name: {"listChanged": True} for name in ("tools", "resources", "prompts")}
        changing["resources"]["subscribe"] = True
        self._capabilities: JsonObject = {**plain, **changing, "logging": {}}
        self._offered = self._capabilities if has_sessions else plain

    def initialize(self, params: JsonObject) -> tuple[Revision, JsonObject]:
        """The negotiated revision and the result of initialize. An unknown revision is answered with the newest, and
        the client decides. Raises Fault where no revision is named."""
        requested = params.get("protocolVersion")
        if not isinstance(requested, str):
            raise Fault(INVALID_PARAMS, "params.protocolVersion must be a string")
        revision = negotiate(requested)
        info = {name: value for name, value in self.server_info.items() if name != "title" or revision.has_titles}
        offered = self._offered
        if not revision.has_completions_capability:
            offered = {name: value for name, value in offered.items() if name != "completions"}
        return revision, {
            "protocolVersion": revision.name,
            "capabilities": offered,
            "serverInfo": _with_logo(info, revision),
            "instructions": INSTRUCTIONS,
        }

    def discover(self, revision: Revision) -> JsonObject:
        """The result of server/discover."""
        return {
            "supportedVersions": list(STATELESS_REVISIONS),
            "capabilities": {**self._capabilities, "extensions": {TASKS_EXTENSION: {}}},
            "instructions": INSTRUCTIONS,
            "resultType": "complete",
            "ttlMs": DISCOVER_TTL_MS,
            "cacheScope": "private",
            "_meta": {SERVER_INFO_KEY: _with_logo(dict(self.server_info), revision)},
        }


def _with_logo(info: JsonObject, revision: Revision) -> JsonObject:
    return {**info, "icons": [LOGO]} if revision.has_icons else info
