"""A session with an upstream server, whatever carries it: what the server said of itself, and the form of requests.

In the handshake era (to 2025-11-25) the server keeps a session from `initialize` on. In the stateless era (from
2026-07-28) each request carries an envelope, and the object here is only the way to the server.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from yarl import URL

from stoa.application.ports import UpstreamAccess
from stoa.domain.calls.trace_context import TraceContext
from stoa.domain.client_requests.client_request import ClientCapabilities
from stoa.domain.errors import BackendUnavailable
from stoa.domain.schema.json_value import JsonObject, as_object, is_array
from stoa.infrastructure.http_client.authentication import Sign
from stoa.infrastructure.mcp_upstream.client_requests import declared
from stoa.infrastructure.mcp_upstream.conversation import NO_CLIENT, Listener
from stoa.infrastructure.mcp_upstream.messages import Notification

STATELESS = "2026-07-28"
NEWEST_HANDSHAKE = "2025-11-25"
HANDSHAKE_REVISIONS = frozenset({"2024-11-05", "2025-03-26", "2025-06-18", NEWEST_HANDSHAKE})
TASKS_EXTENSION = "io.modelcontextprotocol/tasks"

CLIENT_INFO: JsonObject = {"name": "stoa-mcp-gateway", "version": version("stoa-mcp-gateway")}
_VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
_CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
_INFO_KEY = "io.modelcontextprotocol/clientInfo"
_LOG_KEY = "io.modelcontextprotocol/logLevel"
_ENVELOPE: JsonObject = {_VERSION_KEY: STATELESS, _CAPABILITIES_KEY: {}, _INFO_KEY: CLIENT_INFO}
"""The envelope of a request without a client behind it."""
LIST_CHANGES = {
    "notifications/tools/list_changed": "tools",
    "notifications/prompts/list_changed": "prompts",
    "notifications/resources/list_changed": "resources",
}


class SessionGone(Exception):
    """The server has forgotten the session, and did nothing."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What a server said of itself."""

    revision: str
    capabilities: JsonObject
    info: JsonObject
    instructions: str | None = None

    @property
    def is_stateless(self) -> bool:
        return self.revision == STATELESS

    @property
    def announces_changes(self) -> bool:
        return any(as_object(self.capabilities.get(name)).get("listChanged") for name in LIST_CHANGES.values())

    @property
    def tells_of_resources(self) -> bool:
        return as_object(self.capabilities.get("resources")).get("subscribe") is True

    @property
    def has_tasks(self) -> bool:
        return TASKS_EXTENSION in as_object(self.capabilities.get("extensions"))


class Access:
    """The right to call the server in one call: signs requests with the tool's credential or an OAuth 2 token."""

    def __init__(
        self, sign: Sign | None = None, upstream: UpstreamAccess | None = None, *, is_of_gateway: bool = False
    ) -> None:
        """`is_of_gateway`: the tokens of `upstream` are the gateway's own, and no caller's."""
        self._sign = sign
        self._upstream = upstream
        self._token: str | None = None
        self.is_lasting = upstream is None or is_of_gateway
        """True if it is good for more than one call."""

    async def apply(self, headers: dict[str, str], url: URL) -> URL:
        """Sign a request. Returns the URL to send it to."""
        if self._upstream is not None:
            self._token = await self._upstream.token()
            headers["Authorization"] = f"Bearer {self._token}"
        return url if self._sign is None else self._sign(headers, url)

    def refused(self) -> bool:
        """True if another token may fare better."""
        token, self._token = self._token, None
        return token is not None and self._upstream is not None and self._upstream.refused(token)


NO_ACCESS = Access()


@dataclass(slots=True)
class Call:
    """What a request carries besides its method and params."""

    listener: Listener = NO_CLIENT
    access: Access = NO_ACCESS
    trace: TraceContext | None = None
    request_id: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """`Mcp-Param-*`, over HTTP in the stateless era."""


class Session(ABC):
    """`whose`: names the server in messages."""

    def __init__(self, whose: str, capabilities: ClientCapabilities) -> None:
        self.whose = whose
        self.capabilities = capabilities
        """As declared by `initialize`; the stateless era declares them with each request."""
        self.peer = Peer(NEWEST_HANDSHAKE, {}, {})
        self.is_closed = False
        self.has_state = True
        """False: the server keeps nothing of this session, so that several callers may use it."""
        self.on_change: Callable[[], None] | None = None
        """Called when the server says that a list changed."""
        self.resource_listeners: list[Callable[[str], None]] = []
        """Each is called with the URI when the server says that a resource changed."""
        self._last_id = 0

    @abstractmethod
    async def request(self, method: str, params: JsonObject, call: Call) -> JsonObject:
        """The result. Raises UpstreamFault for an error, SessionGone, BackendUnavailable, BackendTimedOut,
        BackendProtocolError, and OSError for a lost connection. Cancelling it tells the server."""
        ...

    @abstractmethod
    async def notify(self, method: str, params: JsonObject, access: Access = NO_ACCESS) -> None: ...

    @abstractmethod
    async def watch(self, access: Access, established: Callable[[], None], uris: Sequence[str] = ()) -> None:
        """Follow what the server says of these resources, or else of its lists, until the connection ends.
        `established`: from here on no change is missed, in the handshake era once they are subscribed to. Raises as
        `request` does."""
        ...

    @abstractmethod
    async def close(self) -> None: ...

    async def introduce(self, access: Access, revision: str | None) -> None:
        """Learn what the server is: by `server/discover`, else by `initialize`. `revision`: the only one to use."""
        if revision in {None, STATELESS} and await self._discover(access, is_only=revision is not None):
            return
        await self._initialize(access, revision or NEWEST_HANDSHAKE)

    @abstractmethod
    async def _discover(self, access: Access, *, is_only: bool) -> bool:
        """Try the stateless era. False: the server does not know it, which is an error with `is_only`."""
        ...

    async def _initialize(self, access: Access, revision: str) -> None:
        self.peer = Peer(revision, {}, {})  # as long as nothing is agreed on
        params: JsonObject = {
            "protocolVersion": revision,
            "capabilities": declared(self.capabilities),
            "clientInfo": CLIENT_INFO,
        }
        result = await self.request("initialize", params, Call(access=access))
        named = result.get("protocolVersion")
        if named not in HANDSHAKE_REVISIONS:
            raise BackendUnavailable(f"The back end of {self.whose} failed: it speaks no revision of MCP known here")
        capabilities, info = as_object(result.get("capabilities")), as_object(result.get("serverInfo"))
        self._agree(Peer(named, capabilities, info, _told(result)))
        await self.notify("notifications/initialized", {}, access)
        if "logging" in self.peer.capabilities:
            # All: each client's own level decides what it gets to see.
            await self.request("logging/setLevel", {"level": "debug"}, Call(access=access))

    def _discovered(self, result: JsonObject) -> bool:
        versions = result.get("supportedVersions")
        if not is_array(versions) or STATELESS not in versions:
            return False
        info = as_object(as_object(result.get("_meta")).get("io.modelcontextprotocol/serverInfo"))
        self._agree(Peer(STATELESS, as_object(result.get("capabilities")), info, _told(result)))
        return True

    def _agree(self, peer: Peer) -> None:
        """From here on both sides speak this revision."""
        self.peer = peer

    def _params(self, params: JsonObject, request_id: int, call: Call) -> JsonObject:
        """The params with `_meta`: the envelope of the stateless era, the progress token, the trace context."""
        is_stateless = self.peer.is_stateless
        if call.listener is NO_CLIENT and call.trace is None:  # as of most calls: nothing in it is of this one
            return {**params, "_meta": _ENVELOPE} if is_stateless else params
        meta: dict[str, Any] = {}
        if is_stateless:
            capabilities = declared(call.listener.capabilities)
            if call.listener.takes_tasks and self.peer.has_tasks:
                capabilities["extensions"] = {TASKS_EXTENSION: {}}
            meta = {**_ENVELOPE, _CAPABILITIES_KEY: capabilities}
        if call.listener.wants_messages:
            meta["progressToken"] = request_id
            if is_stateless:
                meta[_LOG_KEY] = "debug"
        if call.trace is not None:
            meta["traceparent"] = call.trace.traceparent
            if call.trace.state:
                meta["tracestate"] = call.trace.state
        return {**params, "_meta": meta} if meta else params

    def _tell_change(self, message: Notification) -> bool:
        """False: the message is about no change."""
        if message.method in LIST_CHANGES:
            if self.on_change is not None:
                self.on_change()
        elif message.method == "notifications/resources/updated":
            for listener in [*self.resource_listeners]:
                listener(str(message.params.get("uri", "")))
        else:
            return False
        return True

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id


def wanted_changes(uris: Sequence[str]) -> JsonObject:
    """`notifications` of subscriptions/listen."""
    if uris:
        return {"resourceSubscriptions": [*uris]}
    return {f"{name}ListChanged": True for name in LIST_CHANGES.values()}


def _told(result: JsonObject) -> str | None:
    text = result.get("instructions")
    return text if isinstance(text, str) else None
