"""The gRPC back end. What it does with grpcio is in `calls` and `channels`, which are imported with the first tool."""

from typing import Any

from stoa.application.ports import BackendCall, BindingManifest, CredentialSource, NamedByManifests, ToolBackend
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.operation import Operation
from stoa.infrastructure.grpc.binding import GrpcBinding
from stoa.infrastructure.grpc.manifest import GrpcManifest
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

    def manifest(self) -> type[BindingManifest]:
        return GrpcManifest

    def prepare(self, tool: Operation) -> BackendCall:
        if not isinstance(tool.binding, GrpcBinding):
            raise InvalidInput(f"Tool {tool.key}: its binding is {tool.binding.kind}, not grpc")
        from stoa.infrastructure.grpc.calls import call_of  # with grpcio and protobuf, for those who have such tools
        from stoa.infrastructure.grpc.channels import Channels

        if self._channels is None:
            self._channels = Channels(self._credentials, self._rules, self._resolver, self._max_received_bytes)
        return call_of(tool, tool.binding, self._credentials, self._channels)

    async def close(self) -> None:
        channels, self._channels = self._channels, None
        if channels is not None:
            await channels.close()
