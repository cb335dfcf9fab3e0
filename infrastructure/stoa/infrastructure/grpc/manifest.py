"""`spec.grpc` of a Tool and of a ToolSet."""

from typing import ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, model_validator

from stoa.application.ports import BindingManifest, SourceManifest
from stoa.application.ports.manifest_parts import ManifestModel, StreamManifest, TlsManifest, rules
from stoa.domain.operations.binding import Base64, Binding
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.grpc.binding import MetadataName, MetadataText, Target


class HealthCheckManifest(ManifestModel):
    """Calls go to servers that say that they are healthy, by grpc.health.v1.Health."""

    service: str = Field(default="", max_length=512)
    """The name that is asked for; empty: the server as a whole."""


class GrpcConnection(ManifestModel):
    """How the server is called; the same in a Tool and in a ToolSet."""

    metadata: dict[MetadataName, MetadataText] = Field(default={})
    tls: TlsManifest = TlsManifest()
    load_balancing: Literal["pick_first", "round_robin"] = "pick_first"
    health_check: HealthCheckManifest | None = None
    stream: StreamManifest = StreamManifest()


class GrpcManifest(BindingManifest, GrpcConnection):
    """`spec.grpc` of a Tool: one method, with its descriptors written in the manifest."""

    member: ClassVar[str] = "grpc"
    target: Target
    method: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*/[A-Za-z_][A-Za-z0-9_]*$")
    """`package.Service/Method`."""
    descriptor_set: Base64
    """A google.protobuf.FileDescriptorSet, as `protoc --include_imports --descriptor_set_out` writes it."""

    def input_schema(self) -> JsonObject:
        from stoa.infrastructure.grpc.converter import hand_written  # with protobuf

        return hand_written(self).input_schema

    def to_binding(self, input_schema: JsonObject) -> Binding:  # noqa: ARG002  # messages are the descriptors' word
        from stoa.infrastructure.grpc.converter import hand_written

        return hand_written(self).binding


class GrpcSource(SourceManifest, GrpcConnection):
    """`spec.grpc` of a ToolSet. Without `descriptorSet` and `protos`, the server at `target` is asked by reflection."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.descriptorSet) || !has(self.protos) || size(self.protos) == 0",
                "set only one of descriptorSet and protos",
            ),
            (
                "!has(self.includes) || size(self.includes) == 0 || (has(self.protos) && size(self.protos) > 0)",
                "includes is for protos",
            ),
            (
                "has(self.target) || has(self.descriptorSet) || (has(self.protos) && size(self.protos) > 0)",
                "target: this field is required",
            ),
        )
    )

    target: Target | None = None
    descriptor_set: str | None = None
    """File or URL of a binary google.protobuf.FileDescriptorSet (`.binpb`, `.protoset`, `.pb`, `.desc`)."""
    protos: tuple[str, ...] = Field(default=(), max_length=100)
    """.proto files; their imports are found in `includes`, and in the folders that the files lie in."""
    includes: tuple[str, ...] = Field(default=(), max_length=20)
    services: tuple[str, ...] = ()
    """Full names; empty: all."""

    @model_validator(mode="after")
    def _has_one_description(self) -> Self:
        if self.descriptor_set is not None and self.protos:
            raise ValueError("set only one of descriptorSet and protos")
        if self.includes and not self.protos:
            raise ValueError("includes is for protos")
        if self.target is None and self.descriptor_set is None and not self.protos:
            raise ValueError("target: this field is required")
        return self

    @property
    def address(self) -> str | None:
        if self.descriptor_set is not None:
            return self.descriptor_set
        return self.protos[0] if self.protos else self.target

    @property
    def is_remote(self) -> bool:
        return self.address is not None and bool(urlsplit(self.address).scheme)
