"""The binding of a tool to one method of a gRPC service."""

from functools import lru_cache
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints

from stoa.application.ports.manifest_parts import HOST_AND_PORT
from stoa.domain.operations.access import Access, MethodProperties
from stoa.domain.operations.binding import Base64, Binding, StreamBounds, TlsSecrets

DEFAULT_PORTS = {"grpc": 80, "grpcs": 443}


def _target(text: str) -> str:
    try:
        parts = urlsplit(text)
        if parts.hostname and parts.port != 0 and parts.username is None:
            return text
    except ValueError:
        pass
    raise ValueError("write grpc://HOST:PORT, or grpcs://HOST:PORT for TLS")


Target = Annotated[
    str,
    StringConstraints(pattern=r"^grpcs?://[^/?#@\s]+$", max_length=512),
    AfterValidator(_target),
    Field(json_schema_extra={"pattern": f"^grpcs?://{HOST_AND_PORT}$"}),
]
"""A server by its address: `grpc` in clear text, `grpcs` over TLS."""


def _metadata_name(name: str) -> str:
    if name.startswith("grpc-") or name.endswith("-bin"):
        raise ValueError("names that begin with grpc- or end in -bin are not for text")
    return name


MetadataName = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-z_.-]+$", max_length=128), AfterValidator(_metadata_name)
]
MetadataText = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]*$", max_length=4096)]
"""ASCII-Value of the gRPC protocol over HTTP/2."""


class GrpcBinding(Binding):
    """One method of a gRPC service, with the descriptors of its messages."""

    kind: Literal["grpc"] = "grpc"
    target: Target
    service: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$")
    """Full name, `etcdserverpb.KV`."""
    method: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    request_type: str
    response_type: str
    streams_requests: bool = False
    streams_responses: bool = False
    descriptors: Base64
    """A google.protobuf.FileDescriptorSet with the messages that the method reaches, and no other."""
    access: Access = Access.WRITE
    """What the description says of its effects (see `method_facts`)."""
    is_idempotent: bool | None = None
    metadata: tuple[tuple[MetadataName, MetadataText], ...] = ()
    tls: TlsSecrets = TlsSecrets()
    load_balancing: Literal["pick_first", "round_robin"] = "pick_first"
    health_service: str | None = None
    """The name that grpc.health.v1.Health is asked for; empty: the server as a whole; None: it is not asked."""
    stream: StreamBounds = StreamBounds()

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.method}"

    @property
    def method_properties(self) -> MethodProperties:
        return MethodProperties(self.access, self.is_idempotent)

    @property
    def origins(self) -> frozenset[str]:
        return frozenset({origin_of_target(self.target)})

    @property
    def summary(self) -> str:
        return f"{self.service}/{self.method}"


def origin_of_target(target: str) -> str:
    """Scheme, host and port, equal for equal servers."""
    scheme, host, port = split_target(target)
    return f"{scheme}://{host}:{port}"


@lru_cache(maxsize=1024)
def split_target(target: str) -> tuple[str, str, int]:
    """Scheme, host (an IPv6 address without brackets) and port of a Target."""
    parts = urlsplit(target)
    return parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]
