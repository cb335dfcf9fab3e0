"""The members of manifests that name an upstream MCP server: `spec.mcp` of a Tool and of a ToolSet."""

import shlex
from typing import ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, model_validator

from stoa.application.ports.manifest_parts import (
    BindingManifest,
    Interval,
    ManifestModel,
    SecretRefManifest,
    SourceManifest,
    TlsManifest,
    exactly_one,
    rules,
)
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.access import Access
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.mcp_upstream.binding import (
    HeaderName,
    HeaderText,
    McpBinding,
    McpServer,
    Program,
    ProgramText,
    Revision,
    ServerUrl,
    Sessions,
    Transport,
    VariableName,
)

MEMBER = "mcp"
_MEBIBYTE = 1024 * 1024


_RULES = rules((exactly_one("url", "command"), "set exactly one of url and command"))


class _Limits(ManifestModel):
    memory_mebibytes: int = Field(default=2048, ge=16, le=1024 * 1024)
    open_files: int = Field(default=1024, ge=16, le=1_048_576)


class McpConnection(ManifestModel):
    """How the server is reached; the same in a Tool and in a ToolSet."""

    model_config = ConfigDict(json_schema_extra=_RULES)

    url: ServerUrl | None = None
    command: str | None = Field(default=None, min_length=1, max_length=1024)
    """A program to start, of the platform's own manifests only."""
    args: tuple[ProgramText, ...] = Field(default=(), max_length=256)
    directory: ProgramText | None = None
    env: dict[VariableName, ProgramText] = Field(default={}, max_length=256)
    env_secret_refs: dict[VariableName, SecretRefManifest] = Field(default={}, max_length=64)
    limits: _Limits = _Limits()
    transport: Transport = "streamableHttp"
    headers: dict[HeaderName, HeaderText] = Field(default={}, max_length=64)
    tls: TlsManifest = TlsManifest()
    sessions: Sessions = "principal"
    max_sessions: int = Field(default=64, ge=1, le=10_000)
    protocol_version: Revision | None = None

    @model_validator(mode="after")
    def _is_in_one_place(self) -> Self:
        if (self.url is None) == (self.command is None):
            raise ValueError("set exactly one of url and command")
        if self.command is None:
            is_misplaced = bool(self.args or self.directory or self.env or self.env_secret_refs)
            names = "args, directory, env and envSecretRefs are for a server with command"
        else:
            is_misplaced = bool(self.headers) or self.transport != "streamableHttp" or self.tls != TlsManifest()
            names = "transport, headers and tls are for a server with url"
        if is_misplaced:
            raise ValueError(names)
        return self

    def server(self) -> McpServer:
        program = None
        if self.command is not None:
            program = Program(
                command=self.command,
                arguments=self.args,
                directory=self.directory,
                environment=tuple(self.env.items()),
                secrets=tuple((name, secret.to_domain()) for name, secret in self.env_secret_refs.items()),
                memory_bytes=self.limits.memory_mebibytes * _MEBIBYTE,
                open_files=self.limits.open_files,
            )
        return McpServer(
            url=self.url,
            program=program,
            transport=self.transport,
            headers=tuple(self.headers.items()),
            tls=self.tls.to_domain(),
            sessions=self.sessions,
            max_sessions=self.max_sessions,
            revision=self.protocol_version,
        )


class McpToolManifest(BindingManifest, McpConnection):
    """`spec.mcp` of a Tool: one tool of a server, with its schema written in the manifest."""

    member: ClassVar[str] = MEMBER
    tool: str = Field(min_length=1, max_length=2048)
    """The upstream's name of the tool."""

    def to_binding(self, input_schema: JsonObject) -> McpBinding:  # noqa: ARG002  # arguments go as they are
        return McpBinding(server=self.server(), name=self.tool, access=Access.WRITE)


class McpSource(SourceManifest, McpConnection):
    """`spec.mcp` of a ToolSet: what a server offers."""

    refresh_interval: Interval = 3600.0
    tools: bool = True
    resources: bool = True
    prompts: bool = True
    trust_annotations: bool = True
    """False: what the server says of its tools (`readOnlyHint`) does not decide which scope a call needs."""
    definitions: Literal["follow", "approved"] = "follow"
    """`approved`: only what `approved` lists is offered; anything new or changed is held back."""
    approved: dict[str, str] = Field(default={}, max_length=10_000)
    """Digests of approved definitions by name: a tool's, `prompt:` and a prompt's, `resource:` and a URI."""

    @property
    def address(self) -> str | None:
        return self.url or f"stdio:{self.command}"

    @property
    def is_remote(self) -> bool:
        return True


def source_at(location: str) -> McpSource:
    """The source for `mcp+https://...`, an http(s) URL, or `stdio:COMMAND ARGUMENT ...`. Raises InvalidInput."""
    if location.startswith(STDIO):
        command, *arguments = _words(location.removeprefix(STDIO))
        return McpSource(command=command, args=tuple(arguments))
    if location.startswith("sse+"):
        return McpSource(url=location.removeprefix("sse+"), transport="sse")
    url = location.removeprefix("mcp+")
    is_sse = urlsplit(url).path.rstrip("/").endswith("/sse")
    return McpSource(url=url, transport="sse" if is_sse else "streamableHttp")


STDIO = "stdio:"


def _words(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as caught:
        raise InvalidInput(f"stdio: {caught}; write stdio:COMMAND ARGUMENT ..., quoted as for a shell") from None
    if not words:
        raise InvalidInput("stdio: write stdio:COMMAND ARGUMENT ...")
    return words
