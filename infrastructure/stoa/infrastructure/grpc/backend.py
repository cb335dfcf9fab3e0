"""The gRPC back end. What it does with grpcio is in `calls` and `channels`, which are imported with the first call, in
a thread: they take 12 MB, and a tenth of a second or more."""

from functools import cache
from importlib.util import find_spec
from threading import Lock
from typing import Any

from stoa.application.backends.late_call import LateCall
from stoa.application.ports import (
    BackendCall,
    BindingManifest,
    CredentialSource,
    NamedByManifests,
    ToolBackend,
)
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.operation import Operation
from stoa.infrastructure.grpc.binding import GrpcBinding
from stoa.infrastructure.grpc.manifest import GrpcManifest
from stoa.infrastructure.grpc.metadata import compile_authentication
from stoa.infrastructure.http_client import ANYWHERE, HostResolver, OutboundRules

MAX_RECEIVED_BYTES = 8 * 1024 * 1024
"""Of one message."""


class GrpcBackend(ToolBackend, NamedByManifests):
    """Calls gRPC servers, over one channel for each. `rules`: which addresses may be called; an embedding program that
    registers its own tools trusts them. `resolver`: shared with other connections; None: its own, which asks DNS."""

    kind = "grpc"

    def __init__(
        self,
        credentials: CredentialSource,
        *,
        rules: OutboundRules = ANYWHERE,
        resolver: HostResolver | None = None,
        max_received_bytes: int = MAX_RECEIVED_BYTES,
    ) -> None:
        self._credentials = credentials
        self._rules = rules
        self._resolver = resolver
        self._max_received_bytes = max_received_bytes
        self._channels: Any = None
        self._making = Lock()

    def manifest(self) -> type[BindingManifest]:
        return GrpcManifest

    def prepare(self, tool: Operation) -> BackendCall:
        if not isinstance(tool.binding, GrpcBinding):
            raise InvalidInput(f"Tool {tool.key}: its binding is {tool.binding.kind}, not grpc")
        if not _is_installed():
            raise InvalidInput("gRPC needs the extra grpc: pip install 'stoa-mcp-gateway[grpc]'")
        binding = tool.binding
        compile_authentication(tool.authentication, tool.tenant, self._credentials, f"tool {tool.key}")
        return LateCall(lambda: self._made(tool, binding))

    def _made(self, tool: Operation, binding: GrpcBinding) -> Any:
        """In a thread; the lock keeps first calls that come together to one set of channels."""
        from stoa.infrastructure.grpc.calls import call_of  # with grpcio and protobuf, for those who call such tools
        from stoa.infrastructure.grpc.channels import Channels

        with self._making:
            if self._channels is None:
                self._channels = Channels(self._credentials, self._rules, self._resolver, self._max_received_bytes)
        return call_of(tool, binding, self._credentials, self._channels)

    async def close(self) -> None:
        channels, self._channels = self._channels, None
        if channels is not None:
            await channels.close()


@cache
def _is_installed() -> bool:
    return find_spec("grpc") is not None
