"""ToolSets from gRPC services: `spec.grpc`."""

import base64

import pydantic_core

from stoa.application.ports import CredentialSource, SpecConverter, SpecDocument, SpecKind, SpecPlace
from stoa.domain.errors import BackendUnavailable, InvalidInput, Unavailable
from stoa.infrastructure.grpc.manifest import GrpcSource
from stoa.infrastructure.grpc.metadata import Metadata, bearer, compile_authentication
from stoa.infrastructure.grpc.reflection_process import ReflectionDenied, Server, reflected_apart
from stoa.infrastructure.http_client import PUBLIC_ONLY, HostResolver, OutboundRules
from stoa.infrastructure.http_client.spec_authentication import NO_CALLER

_SCHEMES = ("grpc://", "grpcs://")
_BINARY = (".binpb", ".protoset", ".pb", ".desc", ".fds")


class GrpcSpecKind(SpecKind[GrpcSource]):
    """Asks a server by reflection, or reads a descriptor set or .proto files. `credentials`: for servers that want to
    know who asks. `rules` and `resolver`: as for calls."""

    member = "grpc"
    manifest = GrpcSource

    def __init__(
        self,
        credentials: CredentialSource,
        *,
        rules: OutboundRules = PUBLIC_ONLY,
        resolver: HostResolver | None = None,
    ) -> None:
        self._credentials = credentials
        self._rules = rules
        self._resolver = resolver

    def accepts(self, location: str, text: str | None) -> bool:  # noqa: ARG002  # the address says it
        return location.startswith(_SCHEMES) or location.endswith((".proto", *_BINARY))

    def source_at(self, location: str) -> GrpcSource:
        if location.startswith(_SCHEMES):
            return GrpcSource(target=location)
        if location.endswith(".proto"):
            return GrpcSource(protos=(location,))
        return GrpcSource.model_validate({"descriptorSet": location})

    async def fetch(self, source: GrpcSource, place: SpecPlace) -> SpecDocument:
        if source.descriptor_set is not None:
            document = await place.read(source.descriptor_set)
            if document.media_type != "application/octet-stream":
                message = f"is no binary descriptor set; its name ends in {', '.join(_BINARY)}"
                raise InvalidInput(f"{document.location}: {message}")
            return _document(document.location, document.text, source.target)
        if source.protos:
            from stoa.infrastructure.protobuf.protos import descriptor_set_of

            data = await descriptor_set_of(source.protos, source.includes, place.read)
            return _document(source.protos[0], base64.b64encode(data).decode("ascii"), source.target)
        return await self._reflected(source, place)

    def converter(self, source: GrpcSource) -> SpecConverter:
        from stoa.infrastructure.grpc.converter import GrpcConverter  # with protobuf

        return GrpcConverter(source)

    async def _reflected(self, source: GrpcSource, place: SpecPlace) -> SpecDocument:
        """The server is asked with the ToolSet's credential and metadata, which are meant for it."""
        target = source.target or ""
        if place.authentication.type == "oauth2" and place.access is None:
            raise InvalidInput(f"{target}: {NO_CALLER} (spec.grpc.descriptorSet)")
        server = Server(target, source.tls.to_domain(), place.tenant)

        async def asked() -> bytes:
            metadata = (*source.metadata.items(), *await self._signature(place))
            return await reflected_apart(server, metadata, self._credentials, self._rules, self._resolver)

        try:
            try:
                data = await asked()
            except ReflectionDenied:
                if place.access is None or not place.access.refused(await place.access.token()):
                    raise
                data = await asked()
        except ReflectionDenied as denied:
            raise InvalidInput(str(denied)) from None
        except BackendUnavailable as away:
            raise Unavailable(f"{target}: {away.message}") from None
        return _document(target, base64.b64encode(data).decode("ascii"), target)

    async def _signature(self, place: SpecPlace) -> Metadata:
        if place.access is not None:
            return bearer(await place.access.token())
        sign = compile_authentication(place.authentication, place.tenant, self._credentials, str(place.origin))
        return () if sign is None else sign()


def _document(location: str, descriptors: str, target: str | None) -> SpecDocument:
    content = {"fileDescriptorSet": descriptors, **({"target": target} if target else {})}
    return SpecDocument(location, pydantic_core.to_json(content).decode(), "application/json")
