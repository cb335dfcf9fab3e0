"""What a tool, resource or prompt of an upstream MCP server calls: one operation of one server, as data."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from stoa.domain.operations.access import Access, MethodProperties
from stoa.domain.operations.binding import Binding, SecretReference, TlsSecrets, origin_of
from stoa.domain.value import Strict

ServerUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?(\?[^#\s]*)?$", max_length=2048)]
Revision = Literal["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"]
Transport = Literal["streamableHttp", "sse"]
Sessions = Literal["principal", "shared"]
"""`principal`: each caller has sessions (over stdio: processes) of its own. `shared`: one for all callers, for servers
that keep nothing between calls; such a session takes no client requests, which could reach the wrong caller."""

_OURS = frozenset({
    "accept", "accept-encoding", "connection", "content-length", "content-type", "cookie", "host", "last-event-id",
    "mcp-method", "mcp-name", "mcp-protocol-version", "mcp-session-id", "transfer-encoding",
})  # fmt: skip


def _header_name(name: str) -> str:
    if name.lower() in _OURS or name.lower().startswith("mcp-param-"):
        raise ValueError(f"{name} is set by the transport")
    return name


HeaderName = Annotated[
    str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", max_length=128), AfterValidator(_header_name)
]
HeaderText = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]*$", max_length=4096)]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)]
ProgramText = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=32_768)]


class Program(Strict):
    """A server that the gateway starts and speaks to over stdio."""

    command: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]+$", max_length=1024)]
    """A program on PATH, or its path. No shell reads it."""
    arguments: tuple[ProgramText, ...] = Field(default=(), max_length=256)
    directory: ProgramText | None = None
    environment: tuple[tuple[VariableName, ProgramText], ...] = ()
    secrets: tuple[tuple[VariableName, SecretReference], ...] = ()
    """Variables whose values are secrets, read when the program is started."""
    memory_bytes: int = Field(default=2 * 1024**3, ge=16 * 1024**2)
    """Private writable memory of each process (RLIMIT_DATA)."""
    open_files: int = Field(default=1024, ge=16, le=1_048_576)


class McpServer(Strict):
    """An upstream server, and how it is reached; exactly one of `url` and `program` is set."""

    url: ServerUrl | None = None
    program: Program | None = None
    transport: Transport = "streamableHttp"
    """`sse`: HTTP+SSE of revision 2024-11-05."""
    headers: tuple[tuple[HeaderName, HeaderText], ...] = ()
    tls: TlsSecrets = TlsSecrets()
    sessions: Sessions = "principal"
    max_sessions: int = Field(default=64, ge=1, le=10_000)
    revision: Revision | None = None
    """None: the newest that both sides know."""

    @model_validator(mode="after")
    def _is_in_one_place(self) -> Self:
        if (self.url is None) == (self.program is None):
            raise ValueError("set exactly one of url and program")
        return self

    @property
    def place(self) -> str:
        """The server in messages: its URL without the query, or the name of the program."""
        return self.url.partition("?")[0] if self.url is not None else self.program.command if self.program else ""


class McpBinding(Binding):
    """One operation of an upstream MCP server."""

    kind: Literal["mcp"] = "mcp"
    server: McpServer
    method: Literal["tools/call", "resources/read", "prompts/get"] = "tools/call"
    name: str = Field(min_length=1, max_length=2048)
    """The upstream's name of a tool or prompt; the URI or URI template of a resource."""
    access: Access = Access.WRITE
    """What the tool's annotations say (see `access_of`)."""
    is_idempotent: bool | None = None
    uri_prefix: Annotated[str, StringConstraints(pattern=r"^([A-Za-z][A-Za-z0-9.-]*\+)?$", max_length=64)] = ""
    """Stands before the scheme of the upstream's URIs in the catalogue, `git+` in `git+file:///a`."""

    @property
    def method_properties(self) -> MethodProperties:
        return MethodProperties(self.access, self.is_idempotent)

    @property
    def origins(self) -> frozenset[str]:
        return frozenset() if self.server.url is None else frozenset({origin_of(self.server.url)})

    @property
    def summary(self) -> str:
        return f"{self.method} {self.name}"
