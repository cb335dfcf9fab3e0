"""The manifests of group gostoa.dev, version v1alpha1: the same document as a file and as a Kubernetes object.

Pure: text has been parsed into a dict before, and nothing is fetched here. `parse_manifest` says which field is wrong.
"""

import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from stoa.application.argument_schema import ArgumentSchema
from stoa.application.output_schema import OutputSchema
from stoa.application.ports.spec import ConversionOptions
from stoa.domain.errors import InvalidInput
from stoa.domain.identity import TenantId, TenantName
from stoa.domain.json_value import JsonObject, is_array, is_object
from stoa.domain.rate_limit import Burst, RateLimit, RequestsPerMinute
from stoa.domain.tool import (
    ApiReference,
    Authentication,
    RestBinding,
    RestBody,
    RestParameter,
    SecretKey,
    SecretName,
    SecretReference,
    TimeoutSeconds,
    Tool,
    ToolAnnotations,
)

API_VERSION = "gostoa.dev/v1alpha1"
TENANT_LABEL = "gostoa.dev/tenant"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_WITHOUT_BODY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


def _seconds(value: Any) -> Any:
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)", value)):
        return float(match[1]) * _UNITS[match[2]]
    raise ValueError("write a duration with its unit, such as 500ms, 30s or 5m")


_Timeout = Annotated[TimeoutSeconds, BeforeValidator(_seconds)]
_Interval = Annotated[float, BeforeValidator(_seconds), Field(ge=1)]
_TENANT = TypeAdapter[TenantId](TenantName)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)


class _SecretRef(_Model):
    name: SecretName
    key: SecretKey | None = None


class _Authentication(_Model):
    type: Literal["none", "bearer", "basic", "apiKey"] = "none"
    secret_ref: _SecretRef | None = None
    header_name: str = "X-API-Key"

    @model_validator(mode="after")
    def _has_secret(self) -> Self:
        if self.type != "none" and self.secret_ref is None:
            raise ValueError(f"type {self.type} needs secretRef")
        return self

    def to_domain(self) -> Authentication:
        secret = self.secret_ref and SecretReference(name=self.secret_ref.name, key=self.secret_ref.key)
        return Authentication(type=self.type, secret=secret, parameter_name=self.header_name)


class _Annotations(_Model):
    title: str | None = None
    read_only_hint: bool | None = None
    destructive_hint: bool | None = None
    idempotent_hint: bool | None = None
    open_world_hint: bool | None = None

    def to_domain(self) -> ToolAnnotations:
        return ToolAnnotations(**self.model_dump(exclude={"title"}))


class _ApiRef(_Model):
    name: str
    version: str | None = None
    operation_id: str | None = None


class RateLimitManifest(_Model):
    requests_per_minute: RequestsPerMinute
    burst: Burst = 1

    def to_domain(self) -> RateLimit:
        return RateLimit(requests_per_minute=self.requests_per_minute, burst=self.burst)


class ToolSpec(_Model):
    """`spec` of a Tool."""

    display_name: str | None = None
    description: str = ""
    endpoint: str = Field(pattern=r"^https?://[^/?#\s]+")
    method: str = Field(default="GET", pattern=r"^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$")
    tags: tuple[str, ...] = ()
    category: str | None = None
    version: str | None = None
    input_schema: JsonObject | None = None
    output_schema: JsonObject | None = None
    annotations: _Annotations = _Annotations()
    api_ref: _ApiRef | None = None
    authentication: _Authentication = _Authentication()
    timeout: _Timeout = 30.0
    rate_limit: RateLimitManifest | None = None
    enabled: bool = True


class _OpenApiSpec(_Model):
    url: str | None = None
    inline: str | JsonObject | None = None
    refresh_interval: _Interval = 3600.0


class _Selector(_Model):
    tags: tuple[str, ...] = ()
    exclude_tags: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    path_prefix: str = ""
    operation_ids: tuple[str, ...] = ()


class _ToolDefaults(_Model):
    tags: tuple[str, ...] = ()
    timeout: _Timeout = 30.0
    rate_limit: RateLimitManifest | None = None
    authentication: _Authentication = _Authentication()


class _Naming(_Model):
    prefix: str = ""
    suffix: str = ""
    use_operation_id: bool = True


class ToolSetSpec(_Model):
    """`spec` of a ToolSet."""

    display_name: str | None = None
    description: str = ""
    open_api_spec: _OpenApiSpec = Field(alias="openAPISpec")
    base_url: str | None = Field(default=None, alias="baseURL", pattern=r"^https?://[^/?#\s]+[^?#\s]*$")
    selector: _Selector = _Selector()
    tool_defaults: _ToolDefaults = _ToolDefaults()
    naming: _Naming = _Naming()
    enabled: bool = True


class _Metadata(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # Kubernetes adds fields of its own

    name: str = Field(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=128)
    namespace: str | None = None
    labels: dict[str, str] = {}

    @field_validator("namespace")
    @classmethod
    def _names_a_tenant(cls, namespace: str | None) -> str | None:
        if namespace is not None:
            _TENANT.validate_python(namespace.removeprefix("tenant-"))
        return namespace


class _Manifest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    api_version: Literal["gostoa.dev/v1alpha1"] = Field(alias="apiVersion")
    metadata: _Metadata
    status: Any = None  # written by the cluster, not read here

    @property
    def tenant(self) -> TenantId | None:
        """The namespace without a leading `tenant-`; None: no namespace, global."""
        namespace = self.metadata.namespace
        return TenantId(namespace.removeprefix("tenant-")) if namespace else None


class ToolManifest(_Manifest):
    """One tool, written by hand."""

    kind: Literal["Tool"]
    spec: ToolSpec

    def to_tool(self) -> Tool:
        """Raises InvalidInput or pydantic.ValidationError."""
        spec = self.spec
        schema = _schema_of_placeholders(spec.endpoint) if spec.input_schema is None else spec.input_schema
        return Tool(
            name=self.metadata.name,
            tenant=self.tenant,
            title=spec.display_name or spec.annotations.title,
            description=spec.description,
            input_schema=schema,
            output_schema=spec.output_schema,
            annotations=spec.annotations.to_domain(),
            tags=spec.tags,
            category=spec.category,
            version=spec.version,
            api=spec.api_ref and ApiReference(**spec.api_ref.model_dump()),
            binding=_rest_binding(spec, schema),
            timeout_seconds=spec.timeout,
            rate_limit=None if spec.rate_limit is None else spec.rate_limit.to_domain(),
            authentication=spec.authentication.to_domain(),
            enabled=spec.enabled,
        )


class ToolSetManifest(_Manifest):
    """Many tools, made from an API description."""

    kind: Literal["ToolSet"]
    spec: ToolSetSpec

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
            use_operation_id=spec.naming.use_operation_id,
            extra_tags=defaults.tags,
            timeout_seconds=defaults.timeout,
            rate_limit=None if defaults.rate_limit is None else defaults.rate_limit.to_domain(),
            authentication=defaults.authentication.to_domain(),
        )


def parse_manifest(content: JsonObject) -> ToolManifest | ToolSetManifest:
    """Raises InvalidInput whose message names each wrong field and what it expects."""
    try:
        match content.get("kind"):
            case "Tool":
                tool = ToolManifest.model_validate(content)
                _check_tenant(tool)
                _check_schemas(tool.to_tool())
                return tool
            case "ToolSet":
                tool_set = ToolSetManifest.model_validate(content)
                _check_tenant(tool_set)
                source = tool_set.spec.open_api_spec
                if (source.url is None) == (source.inline is None):
                    raise InvalidInput("spec.openAPISpec: set exactly one of url and inline")
                return tool_set
            case other:
                raise InvalidInput(f"kind: expected Tool or ToolSet, found {str(other)[:40]!r}")
    except ValidationError as caught:
        raise InvalidInput(describe_validation_error(caught)) from caught


def describe_validation_error(caught: ValidationError) -> str:
    """Field by field, in the manifest's own words, without the offending values."""
    parts: list[str] = []
    for problem in caught.errors(include_url=False, include_input=False)[:5]:
        field = ".".join(str(part) for part in problem["loc"]) or "(document)"
        message = problem["msg"].removeprefix("Value error, ")
        parts.append(f"{field}: {'no such field' if problem['type'] == 'extra_forbidden' else message}")
    return "; ".join(parts)


def _check_tenant(manifest: _Manifest) -> None:
    labelled = manifest.metadata.labels.get(TENANT_LABEL)
    if labelled is not None and labelled != (manifest.tenant or ""):
        # Obeying it would let one team plant tools in another's catalogue.
        raise InvalidInput(
            f"metadata.labels.{TENANT_LABEL}: {labelled!r} disagrees with the namespace "
            f"({manifest.tenant or 'none'}); the namespace decides, remove the label"
        )


def _check_schemas(tool: Tool) -> None:
    """Here and not only at registration, so that a file with a bad schema keeps its last good version."""
    try:
        ArgumentSchema(tool.input_schema)
        if tool.output_schema is not None:
            OutputSchema(tool.name, tool.output_schema)
    except InvalidInput as refused:
        raise InvalidInput(f"spec.{refused.message}") from refused


def _split(endpoint: str) -> SplitResult:
    try:
        url = urlsplit(endpoint)
        _ = url.port
    except ValueError as caught:
        raise InvalidInput("spec.endpoint: host or port cannot be understood") from caught
    if _PLACEHOLDER.search(url.netloc) or _PLACEHOLDER.search(url.query):
        raise InvalidInput(
            "spec.endpoint: a {placeholder} can stand in the path only; other arguments go into the query by themselves"
        )
    return url


def _placeholders(url: SplitResult) -> list[str]:
    return list(dict.fromkeys(_PLACEHOLDER.findall(url.path)))


def _schema_of_placeholders(endpoint: str) -> JsonObject:
    names = _placeholders(_split(endpoint))
    return {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": names,
        "additionalProperties": False,
    }


def _rest_binding(spec: ToolSpec, schema: JsonObject) -> RestBinding:
    """Arguments named like a `{placeholder}` of the endpoint go into the path; the others into the query where the
    method has no body, else into a JSON body."""
    if schema.get("type") != "object":
        raise InvalidInput("spec.inputSchema.type: expected object")
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not is_object(properties) or not is_array(required):
        raise InvalidInput("spec.inputSchema: expected properties as a mapping and required as a list of their names")
    url = _split(spec.endpoint)
    placeholders = _placeholders(url)
    for name in placeholders:
        if name not in properties or name not in required:
            raise InvalidInput(f"spec.inputSchema: the endpoint needs {{{name}}}; declare it as a required property")
    rest = [name for name in properties if name not in placeholders]
    parameters = [
        RestParameter(argument=name, name=name, location="path", style="simple", explode=False) for name in placeholders
    ]
    body = None
    if spec.method in _WITHOUT_BODY:
        parameters += [
            RestParameter(argument=name, name=name, location="query", style="form", explode=True) for name in rest
        ]
    elif rest:
        body = RestBody(media_type="application/json", fields={name: name for name in rest}, required=True)
    return RestBinding(
        method=spec.method,
        base_url=f"{url.scheme}://{url.netloc}",
        path=url.path or "/",
        fixed_query=tuple(parse_qsl(url.query, keep_blank_values=True)),
        parameters=tuple(parameters),
        body=body,
    )
