"""Descriptors to tools: which methods, their names, schemas and bindings, and findings for the rest.

The text of a description is a JSON object: `fileDescriptorSet` is a google.protobuf.FileDescriptorSet in base64,
`target` the server that it came from.
"""

import base64
import re
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import pydantic_core
from pydantic import TypeAdapter, ValidationError

from stoa.application.ports import Conversion, ConversionOptions, SpecConverter, SpecDocument
from stoa.domain.errors import InvalidInput
from stoa.domain.finding import Finding, error, warning
from stoa.domain.operations.naming import tool_name, unique
from stoa.domain.operations.tool import ApiReference, Tool
from stoa.domain.schema.json_value import JsonObject, is_object
from stoa.infrastructure.grpc.binding import GrpcBinding, Target
from stoa.infrastructure.grpc.facts import method_facts
from stoa.infrastructure.grpc.manifest import GrpcConnection, GrpcManifest, GrpcSource
from stoa.infrastructure.grpc.messages import MessageCodec
from stoa.infrastructure.protobuf.descriptors import Declaration, Descriptors, UnknownType
from stoa.infrastructure.protobuf.rules import is_usable
from stoa.infrastructure.protobuf.schema import SchemaWriter

MAX_SENT_MESSAGES = 100
"""Of one call of a method that takes a stream."""
DESCRIPTION_LIMIT = 1024
_ANY = "google.protobuf.Any"
_ANY_BYTES = 64 * 1024
"""Descriptors that a method with an Any carries whole, so that the Any may hold any of their messages."""
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TARGET = TypeAdapter[str](Target)


class _Method(NamedTuple):
    service: Declaration
    declared: Declaration

    @property
    def id(self) -> str:
        return self.declared.name

    @property
    def short_service(self) -> str:
        return self.service.name.rpartition(".")[2]


class GrpcConverter(SpecConverter):
    """One tool for each method of each service. `source`: how the server is called."""

    def __init__(self, source: GrpcSource) -> None:
        self._source = source

    def convert(self, document: SpecDocument, options: ConversionOptions) -> Conversion:
        target, descriptors = _read(document)
        target = _target_of(options.base_url, self._source.target or target)
        findings: list[Finding] = []
        methods = self._selected(descriptors, options, document.location, findings)
        if methods and target is None:
            message = f"{len(methods)} methods are left out: no server is given; set spec.grpc.target"
            return Conversion((), (*findings, error(document.location, message)))
        maker = _ToolMaker(descriptors, self._source, target or "", options)
        tools: list[Tool] = []
        for method, name in zip(methods, _names_of(methods, options, document.location, findings), strict=True):
            where = f"{document.location} {method.id}"
            try:
                tools.append(maker.tool(method, name, where, findings))
            except UnknownType as missing:
                message = f"left out: the description does not declare {missing}; add the file that does"
                findings.append(error(where, message))
            except InvalidInput as problem:
                findings.append(error(where, f"left out: {problem.message}"))
            except (ValidationError, ValueError) as problem:
                reason = "its schema or name cannot be used" if isinstance(problem, ValidationError) else str(problem)
                findings.append(error(where, f"left out: {reason}"))
        return Conversion(tuple(tools), tuple(findings))

    def _selected(
        self, descriptors: Descriptors, options: ConversionOptions, location: str, findings: list[Finding]
    ) -> list[_Method]:
        missing = [name for name in self._source.services if name not in descriptors.services]
        findings += [warning(location, f"there is no service {name!r} (spec.grpc.services)") for name in missing]
        if options.methods:
            findings.append(warning(location, "selector.methods is for HTTP, and selects nothing here"))
        every = [
            _Method(service, declared)
            for service in descriptors.services.values()
            if not self._source.services or service.name in self._source.services
            for declared in descriptors.methods(service)
        ]
        missing = sorted(options.operation_ids - {method.id for method in every})
        findings += [warning(location, f"no method has the id {name!r} (selector.operationIds)") for name in missing]
        return [method for method in every if _is_wanted(method, options)]


class _ToolMaker:
    def __init__(
        self, descriptors: Descriptors, connection: GrpcConnection, target: str, options: ConversionOptions
    ) -> None:
        self._descriptors = descriptors
        self._connection = connection
        self._target = target
        self._options = options
        self._inputs = SchemaWriter(descriptors, is_input=True)
        self._outputs = SchemaWriter(descriptors, is_input=False)

    def tool(self, method: _Method, name: str, where: str, findings: list[Finding]) -> Tool:
        """Raises UnknownType, or ValueError for what cannot be offered."""
        proto = method.declared.proto
        if not _IDENTIFIER.fullmatch(proto.name) or not all(map(_IDENTIFIER.fullmatch, method.service.name.split("."))):
            raise ValueError("its name is no identifier of protobuf")
        request, response = proto.input_type.lstrip("."), proto.output_type.lstrip(".")
        binding = self.binding(method)
        if not all(map(self._descriptors.builds, (request, response))):
            MessageCodec(binding.descriptors, request, response)  # a file that does not build may have messages that do
        if proto.client_streaming:
            arguments, is_complete = self._inputs.list_schema(request, MAX_SENT_MESSAGES)
        else:
            arguments, is_complete = self._inputs.schema(request)
        if not is_complete:
            findings.append(
                warning(where, "its arguments are too large to describe whole; the rest is checked as sent")
            )
        if not is_usable(arguments):
            raise ValueError("its arguments cannot be described")
        if _ANY in self._descriptors.closure([request, response]) and len(binding.descriptors) > _ANY_BYTES:
            findings.append(warning(where, "an Any in it can hold the messages that the method names, and no other"))
        options = self._options
        description = self._descriptors.comment(method.declared) or f"Calls {method.id}."
        return Tool(
            name=name,
            tenant=options.tenant,
            title=f"{method.short_service} {proto.name}",
            description=_described(description, is_deprecated=proto.options.deprecated),
            input_schema=arguments,
            output_schema=self._result_schema(response, is_stream=proto.server_streaming, where=where, told=findings),
            icons=options.icons,
            tags=tuple(dict.fromkeys([method.short_service, *options.extra_tags])),
            api=_api(method, options),
            binding=binding,
            timeout_seconds=options.timeout_seconds,
            rate_limit=options.rate_limit,
            authentication=options.authentication,
            metered_arguments=tuple(key for key in options.metered_arguments if key in arguments["properties"]),
        )

    def binding(self, method: _Method) -> GrpcBinding:
        proto = method.declared.proto
        request, response = proto.input_type.lstrip("."), proto.output_type.lstrip(".")
        facts = method_facts(method.service, proto, self._descriptors.options("MethodOptions", proto.options))
        connection = self._connection
        return GrpcBinding(
            target=self._target,
            service=method.service.name,
            method=proto.name,
            request_type=request,
            response_type=response,
            streams_requests=proto.client_streaming,
            streams_responses=proto.server_streaming,
            descriptors=base64.b64encode(self._carried(request, response)).decode("ascii"),
            access=facts.access,
            is_idempotent=facts.is_idempotent,
            metadata=tuple(connection.metadata.items()),
            tls=connection.tls.to_domain(),
            load_balancing=connection.load_balancing,
            health_service=None if connection.health_check is None else connection.health_check.service,
            stream=connection.stream.to_domain(),
        )

    def _carried(self, request: str, response: str) -> bytes:
        reached = self._descriptors.closure([request, response])
        if _ANY in reached and self._whole:
            return self._whole
        return self._descriptors.pruned(reached)

    @cached_property
    def _whole(self) -> bytes:
        """The whole description, where every method with an Any may carry it; else empty."""
        try:
            whole = self._descriptors.pruned(self._descriptors.closure(self._descriptors.types))
        except UnknownType:
            return b""
        return whole if len(whole) <= _ANY_BYTES else b""

    def _result_schema(self, name: str, *, is_stream: bool, where: str, told: list[Finding]) -> JsonObject | None:
        nothing: JsonObject = {}
        try:
            schema, is_complete = self._outputs.list_schema(name, None) if is_stream else self._outputs.schema(name)
        except ValueError:
            schema, is_complete = {"properties": nothing}, False
        if is_stream:
            schema["properties"]["end"] = {"type": "string", "description": "Why no more was read"}
            schema["properties"]["error"] = {"type": "object", "description": "The status that ended the stream"}
        if is_complete and is_usable(schema):
            return schema
        told.append(warning(where, "it has no output schema: its results are too large to describe"))
        return None


def hand_written(manifest: GrpcManifest) -> Tool:
    """The tool that `spec.grpc` of a Tool describes. Raises InvalidInput."""
    try:
        descriptors = Descriptors.of_text(manifest.descriptor_set)
    except InvalidInput as problem:
        raise InvalidInput(f"spec.grpc.descriptorSet: {problem.message}") from None
    service_name, _, method_name = manifest.method.partition("/")
    service = descriptors.services.get(service_name)
    every = [] if service is None else [_Method(service, declared) for declared in descriptors.methods(service)]
    method = next((method for method in every if method.declared.proto.name == method_name), None)
    if method is None:
        raise InvalidInput(f"spec.grpc.method: the descriptor set has no {manifest.method}")
    try:
        return _ToolMaker(descriptors, manifest, manifest.target, ConversionOptions()).tool(method, "tool", "", [])
    except UnknownType as missing:
        message = f"spec.grpc.descriptorSet: does not declare {missing}; write it with --include_imports"
        raise InvalidInput(message) from None
    except ValueError as problem:
        raise InvalidInput(f"spec.grpc.method: {problem}") from None


def _read(document: SpecDocument) -> tuple[str | None, Descriptors]:
    """Target and descriptors. Raises InvalidInput, naming the location."""
    try:
        content = pydantic_core.from_json(document.text)
    except ValueError:
        content = None
    data = content.get("fileDescriptorSet") if is_object(content) else None
    if not is_object(content) or not isinstance(data, str):
        message = "line 1: is no description of gRPC services; give a server, a descriptor set or .proto files"
        raise InvalidInput(f"{document.location}: {message}")
    target = content.get("target")
    try:
        return target if isinstance(target, str) else None, Descriptors.of_text(data)
    except InvalidInput as problem:
        raise InvalidInput(f"{document.location}: line 1: {problem.message}") from None


def _target_of(base_url: str | None, described: str | None) -> str | None:
    """The ToolSet's `baseURL` counts, as for other kinds; of it only scheme, host and port."""
    if base_url is None:
        return described
    scheme, _, rest = base_url.partition("://")
    target = f"{'grpcs' if scheme == 'https' else 'grpc'}://{rest.partition('/')[0]}"
    try:
        return _TARGET.validate_python(target)
    except ValidationError:
        raise InvalidInput("spec.baseURL: write https://HOST:PORT, or http://HOST:PORT for clear text") from None


def _is_wanted(method: _Method, options: ConversionOptions) -> bool:
    tags = {method.short_service, method.service.name}
    return (
        (not options.include_tags or not tags.isdisjoint(options.include_tags))
        and tags.isdisjoint(options.exclude_tags)
        and f"/{method.id}".startswith(options.path_prefix)
        and (not options.operation_ids or method.id in options.operation_ids)
    )


def _names_of(
    methods: Sequence[_Method], options: ConversionOptions, location: str, findings: list[Finding]
) -> list[str]:
    wanted = [tool_name(_name_of(method, options), options.name_prefix, options.name_suffix) for method in methods]
    given = unique(wanted)
    for method, name, wish in zip(methods, given, wanted, strict=True):
        if name != wish:
            findings.append(warning(f"{location} {method.id}", f"the name {wish!r} is taken; this one is {name!r}"))
    return given


def _name_of(method: _Method, options: ConversionOptions) -> str:
    """`KV_Range`, or `etcdserverpb_KV_Range` where the ToolSet wants names made from paths."""
    service = method.short_service if options.use_operation_id else method.service.name
    return f"{service}_{method.declared.proto.name}"


def _api(method: _Method, options: ConversionOptions) -> ApiReference:
    name = options.api.name if options.api else method.service.name.rpartition(".")[0] or method.service.name
    return ApiReference(name=name, version=options.api.version if options.api else None, operation_id=method.id)


def _described(text: str, *, is_deprecated: bool) -> str:
    text = f"Deprecated. {text}" if is_deprecated else text
    return text if len(text) <= DESCRIPTION_LIMIT else f"{text[: DESCRIPTION_LIMIT - 1].rstrip()}…"
