"""Manifests of the kinds Tool and ToolSet.

A Tool calls an HTTP `endpoint`, or has the member of another back end in its place; a ToolSet has one source.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import ConfigDict, Field, PrivateAttr

from stoa.application.manifests.answers import NO_ANSWER, AnswerManifest, with_answer_rules
from stoa.application.manifests.fields import (
    BASE_URL,
    METHOD,
    AnnotationsManifest,
    AuthenticationManifest,
    EndpointField,
    Manifest,
    MeteringManifest,
    RateLimitManifest,
    Timeout,
    placeholders,
    rest_binding,
    split_endpoint,
    split_spec,
    validated,
)
from stoa.application.manifests.overrides import OverrideManifest
from stoa.application.ports.manifest_parts import BindingManifest, ManifestModel, SourceManifest, rules
from stoa.application.ports.spec import ConversionOptions
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.binding import Binding
from stoa.domain.operations.icon import Icons
from stoa.domain.operations.operation import string_schema
from stoa.domain.operations.token_budget import TokenBudget
from stoa.domain.operations.tool import ApiReference, Tool, Validation
from stoa.domain.operations.tool_changes import ChangeKind
from stoa.domain.schema.json_value import JsonObject


class _ApiRef(ManifestModel):
    name: str
    """Name of the API."""
    version: str | None = None
    """Version of the API."""
    operation_id: str | None = None
    """Id of the operation in its description."""


_FREE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_INPUT_SCHEMA: JsonObject = {
    "properties": {
        "type": {"type": "string", "enum": ["object"], "default": "object"},
        "properties": _FREE,
        "required": {"type": "array", "items": {"type": "string", "maxLength": 128}, "maxItems": 100},
    }
}
"""The part of an input schema that an API server can check."""


_ANY_SHAPE = "spec.outputSchema: with spec.answer.projectionArgument answers have any shape; remove one of them"


class ToolSpec(ManifestModel):
    """The tool."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                (
                    "!has(self.endpoint) || !has(self.inputSchema) ||"
                    " self.endpoint.findAll('[{][^{}]+[}]').all(name, has(self.inputSchema.required)"
                    " && name.substring(1, size(name) - 1) in self.inputSchema.required)"
                ),
                "spec.inputSchema: the endpoint needs each {placeholder}; declare it as a required property",
            ),
            (
                "!has(self.outputSchema) || !has(self.answer) || !has(self.answer.projectionArgument)",
                _ANY_SHAPE,
            ),
        )
    )

    display_name: str | None = None
    """Title for people."""
    description: str = ""
    """What the tool does, for people and agents."""
    endpoint: EndpointField = None
    """URL; `{name}` in its path is filled from the argument of that name."""
    method: str | None = Field(default=None, pattern=METHOD)
    """HTTP method; GET if absent."""
    icons: Icons = ()
    """Pictures that clients may show."""
    tags: tuple[str, ...] = ()
    """Filters of lists; `stoa:read`, `stoa:write` and `stoa:admin` name the scope that a call needs."""
    category: str | None = None
    """One word to file it under."""
    version: str | None = None
    """Version of the tool, for people."""
    input_schema: JsonObject | None = Field(default=None, json_schema_extra=_INPUT_SCHEMA)
    """JSON Schema of the arguments; absent: the placeholders of the endpoint."""
    output_schema: JsonObject | None = None
    """JSON Schema of the answer."""
    annotations: AnnotationsManifest = AnnotationsManifest()
    """Hints of MCP; absent ones follow from the method."""
    api_ref: _ApiRef | None = None
    """The API behind the tool; its name becomes the project of metering events."""
    authentication: AuthenticationManifest = AuthenticationManifest()
    """Authentication of the gateway at the back end."""
    timeout: Timeout = 30.0
    """Time for one call, such as 500ms or 30s; at most 5m."""
    rate_limit: RateLimitManifest | None = None
    """Limit of the tool, counted per calling tenant."""
    metering: MeteringManifest = MeteringManifest()
    """Parts of a call that its metering event holds."""
    token_budget: int | None = Field(default=None, ge=1)
    """Tokens that name, description and shown schema may have; more are shown in less. Needs the extra `tokens`."""
    tasks: Literal["never", "optional", "required"] = "never"
    """Calls may go on in the background, for MCP clients that declare the tasks extension."""
    answer: AnswerManifest = NO_ANSWER
    """Rules for the part of an answer that callers get."""
    enabled: bool = True
    """false leaves the tool out."""


class _Selector(ManifestModel):
    tags: tuple[str, ...] = ()
    """Keep operations with any of these tags; empty: all."""
    exclude_tags: tuple[str, ...] = ()
    """Leave out operations with any of these tags."""
    methods: tuple[str, ...] = ()
    """Keep operations with these HTTP methods; empty: all."""
    path_prefix: str = ""
    """Keep operations whose path begins so."""
    operation_ids: tuple[str, ...] = ()
    """Keep operations with these ids; empty: all."""


class _ToolDefaults(ManifestModel):
    icons: Icons = ()
    """Pictures of every tool; absent: the logo that the description names."""
    tags: tuple[str, ...] = ()
    """Further tags of every tool."""
    timeout: Timeout = 30.0
    """Time for one call of any tool."""
    rate_limit: RateLimitManifest | None = None
    """Limit of each tool, counted per calling tenant."""
    authentication: AuthenticationManifest = AuthenticationManifest()
    """Authentication at the back end, for every tool."""
    metering: MeteringManifest = MeteringManifest()
    """Parts of a call that its metering event holds."""
    answer: AnswerManifest = NO_ANSWER
    """Rules for the part of an answer that callers get."""
    media_types: tuple[str, ...] = ()
    """Media types of request bodies, the preferred one first, for operations that take several."""


class _Naming(ManifestModel):
    prefix: str = ""
    """Text before each name."""
    suffix: str = ""
    """Text after each name."""
    use_operation_id: bool = True
    """false: names are made from method and path."""


class _Changes(ManifestModel):
    hold_back: tuple[ChangeKind, ...] = ()
    """Kinds of changes that keep a new version of the description out of use until it is approved."""
    approved: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Digest of the version that is approved."""


class _TokenBudget(ManifestModel):
    per_tool: int | None = Field(default=None, ge=1)
    """Tokens of each tool."""
    total: int | None = Field(default=None, ge=1)
    """Tokens of all tools of the set together."""

    def to_domain(self) -> TokenBudget:
        return TokenBudget(per_tool=self.per_tool, total=self.total)


class ToolSetSpec(ManifestModel):
    """The set, and which operations of its source become tools."""

    display_name: str | None = None
    """Title for people."""
    description: str = ""
    """What the API is for."""
    base_url: str | None = Field(default=None, alias="baseURL", pattern=BASE_URL)
    """Replaces the servers of the description."""
    selector: _Selector = _Selector()
    """Which operations become tools."""
    tool_defaults: _ToolDefaults = _ToolDefaults()
    """Parts of every tool."""
    naming: _Naming = _Naming()
    """How tools are named."""
    overrides: tuple[OverrideManifest, ...] = Field(
        default=(), json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["operation"]}
    )
    """Changes to single tools."""
    changes: _Changes = _Changes()
    """New versions of the description."""
    validation: Validation = "lenient"
    """Checks of calls to tools from an OpenAPI document: `strict` against the whole schema, `lenient` without
    refusing members that it does not declare, `off` for required arguments and their types alone."""
    token_budget: _TokenBudget = _TokenBudget()
    """Tokens that names, descriptions and shown schemas may have; more are shown in less. Needs the extra `tokens`."""
    enabled: bool = True
    """false leaves all tools out."""


class ToolManifest(Manifest):
    """One tool, written by hand."""

    kind: Literal["Tool"]
    spec: ToolSpec
    _part: BindingManifest | None = PrivateAttr(default=None)

    @classmethod
    def read(cls, document: JsonObject, parts: Mapping[str, type[BindingManifest]]) -> Self:
        """Parse a Tool. `parts`: models of the members that back ends define. Raises InvalidInput."""
        rest, read, problems = split_spec(document, parts)
        manifest = validated(cls, rest, problems, parts)
        manifest._part = next(iter(read.values()), None)
        spec = manifest.spec
        if manifest._part is None and spec.endpoint is None:
            raise InvalidInput(_one_of(["endpoint", *parts]))
        if manifest._part is not None and (spec.endpoint is not None or spec.method is not None):
            field = "method" if spec.endpoint is None else "endpoint"
            raise InvalidInput(f"spec.{field}: is for HTTP; remove it, or remove spec.{manifest._part.member}")
        return manifest

    def to_operation(self) -> Tool:
        """The tool. Raises InvalidInput or pydantic.ValidationError."""
        spec = self.spec
        part = self._part or HttpEndpoint(endpoint=spec.endpoint or "", method=spec.method or "GET")
        # MCP wants the type to be written; authors leave it out, because nothing else is possible.
        schema = part.input_schema() if spec.input_schema is None else {"type": "object", **spec.input_schema}
        for name in spec.metering.arguments:
            if name not in (schema.get("properties") or {}):
                raise InvalidInput(f"spec.metering.arguments: {name} is no property of spec.inputSchema")
        if spec.output_schema is not None and spec.answer.projection_argument is not None:
            raise InvalidInput(_ANY_SHAPE)
        tool = Tool(
            name=self.metadata.name,
            tenant=self.tenant,
            title=spec.display_name or spec.annotations.title,
            description=spec.description,
            input_schema=schema,
            output_schema=spec.output_schema,
            annotations=spec.annotations.to_domain(),
            icons=spec.icons,
            tags=spec.tags,
            category=spec.category,
            version=spec.version,
            api=spec.api_ref and ApiReference(**spec.api_ref.model_dump()),
            binding=part.to_binding(schema),
            timeout_seconds=spec.timeout,
            rate_limit=None if spec.rate_limit is None else spec.rate_limit.to_domain(),
            authentication=spec.authentication.to_domain(),
            metered_arguments=spec.metering.arguments,
            tasks=spec.tasks,
            enabled=spec.enabled,
        )
        return with_answer_rules(tool, spec.answer.over(NO_ANSWER), output_schema=spec.output_schema)


class ToolSetManifest(Manifest):
    """Many tools, made from an API description."""

    kind: Literal["ToolSet"]
    spec: ToolSetSpec
    _member: str = PrivateAttr(default="")
    _source: SourceManifest | None = PrivateAttr(default=None)

    @classmethod
    def read(cls, document: JsonObject, sources: Mapping[str, type[SourceManifest]]) -> Self:
        """Parse a ToolSet. `sources`: models of the members that spec kinds define. Raises InvalidInput."""
        rest, read, problems = split_spec(document, sources)
        if not read and not problems:
            problems.append(_one_of([*sources]))
        manifest = validated(cls, rest, problems, sources)
        ((manifest._member, manifest._source),) = read.items()
        return manifest

    @property
    def member(self) -> str:
        """The member of `spec` that holds the source; it is the key of its SpecKind."""
        return self._member

    @property
    def source(self) -> SourceManifest:
        if self._source is None:
            raise InvalidInput("spec: no source of tools was read")
        return self._source

    def conversion_options(self) -> ConversionOptions:
        spec, selector, defaults = self.spec, self.spec.selector, self.spec.tool_defaults
        return ConversionOptions(
            tenant=self.tenant,
            api=ApiReference(name=self.metadata.name),
            base_url=spec.base_url,
            include_tags=frozenset(selector.tags),
            exclude_tags=frozenset(selector.exclude_tags),
            methods=frozenset(method.upper() for method in selector.methods),
            path_prefix=selector.path_prefix,
            operation_ids=frozenset(selector.operation_ids),
            name_prefix=spec.naming.prefix,
            name_suffix=spec.naming.suffix,
            media_types=defaults.media_types,
            use_operation_id=spec.naming.use_operation_id,
            icons=defaults.icons,
            extra_tags=defaults.tags,
            timeout_seconds=defaults.timeout,
            rate_limit=None if defaults.rate_limit is None else defaults.rate_limit.to_domain(),
            authentication=defaults.authentication.to_domain(),
            metered_arguments=defaults.metering.arguments,
            validation=spec.validation,
        )


class HttpEndpoint(BindingManifest):
    """`spec.endpoint` and `spec.method`, which stand in `spec` itself."""

    member = "endpoint"
    endpoint: str
    method: str

    def input_schema(self) -> JsonObject:
        names = placeholders(split_endpoint(self.endpoint))
        return string_schema({name: {} for name in names}, names)

    def to_binding(self, input_schema: JsonObject) -> Binding:
        return rest_binding(self.endpoint, self.method, input_schema)


def _one_of(members: Sequence[str]) -> str:
    if not members:
        return "spec: this gateway was made without a converter for API descriptions"
    choice = f"set exactly one of {', '.join(members)}" if len(members) > 1 else "this field is required"
    return f"spec.{members[0]}: {choice}"
