"""Fields that the manifests of all kinds share, and the frame around them."""

import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self, TypeVar
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

from stoa.application.ports.manifest_parts import HOST_AND_PORT, ManifestModel, SecretRefManifest, rules, seconds
from stoa.application.schemas.validation_error import describe_validation_error
from stoa.domain.access.identity import TenantId, TenantName
from stoa.domain.access.rate_limit import Burst, RateLimit, RequestsPerMinute, WhenAway
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.operation import MeteredArguments
from stoa.domain.operations.tool import (
    Audience,
    Authentication,
    GrantType,
    OAuthScope,
    RestBinding,
    RestBody,
    RestParameter,
    TimeoutSeconds,
    TokenGrant,
    TokenUrl,
    ToolAnnotations,
)
from stoa.domain.schema.json_value import JsonObject, is_array, is_object

API_VERSION = "gostoa.dev/v1alpha1"
TENANT_LABEL = "gostoa.dev/tenant"
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_WITHOUT_BODY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


_URL = r"^https?://[^/?#\s]+"
BASE_URL = rf"{_URL}[^?#\s]*$"
_NAME = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
METHOD = r"^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$"
_WORDS: Mapping[str, str] = {
    _URL: "write an http(s) URL, such as https://api.example.com/orders/{id}",
    BASE_URL: "write an http(s) URL without a query, such as https://api.example.com/v1",
    METHOD: "write GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS",
    _NAME: "write letters and digits, with - _ . between them",
}
"""The remedy to print for each pattern that does not match."""
Timeout = Annotated[TimeoutSeconds, BeforeValidator(seconds)]
_TENANT = TypeAdapter[TenantId](TenantName)
EndpointField = Annotated[
    str | None,
    Field(
        pattern=_URL,
        json_schema_extra={
            "pattern": rf"^https?://([^/?#@{{}}\s]*@)?{HOST_AND_PORT}(/[^?#]*)?([?][^#{{}}]*)?(#.*)?$",
            "maxLength": 1024,
            **rules((r"self.matches('^https?://[^/?#]+')", _WORDS[_URL])),  # beside a pattern that few can read
        },
    ),
]
"""The URL of a Tool or Resource. The narrower pattern of its JSON Schema stands for what `split_endpoint` refuses."""


class CredentialManifest(ManifestModel):
    """One credential of the gateway."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.type == 'none' || has(self.secretRef)", "every type but none needs secretRef"),
            ("!has(self.scheme) || has(self.secretRef)", "scheme needs secretRef"),
            (
                (
                    "self.type == 'oauth2' || !(has(self.grant) || has(self.tokenUrl) || has(self.audience)"
                    " || (has(self.scopes) && size(self.scopes) > 0))"
                ),
                "grant, tokenUrl, audience and scopes are for type oauth2; remove them, or write type: oauth2",
            ),
            (
                "self.type != 'oauth2' || has(self.tokenUrl)",
                "type oauth2 needs tokenUrl, the URL of the token endpoint",
            ),
            (
                "!has(self.grant) || self.grant != 'tokenExchange' || has(self.audience)",
                "grant tokenExchange needs audience, the back end as the authorization server calls it",
            ),
            (
                "self.type != 'oauth2' || !has(self.secretRef) || !has(self.secretRef.key)",
                "type oauth2 uses the entries clientId and clientSecret of the secret; remove secretRef.key",
            ),
        )
    )

    type: Literal["none", "bearer", "basic", "apiKey", "oauth2"] = "none"
    """How the gateway authenticates at the back end."""
    secret_ref: SecretRefManifest | None = None
    """Where the credential is kept."""
    header_name: str = "X-API-Key"
    """Header, query parameter or cookie of an apiKey."""
    location: Literal["header", "query", "cookie"] = Field(default="header", alias="in")
    """Place of an apiKey in the request."""
    scheme: str | None = Field(default=None, max_length=200)
    """The security scheme of the OpenAPI description that says how the secret is sent; type, in and headerName then
    follow from it."""
    grant: GrantType | None = None  # a default would be written into every manifest by an API server
    """How the token is obtained, for oauth2; absent: clientCredentials."""
    token_url: TokenUrl | None = None
    """Token endpoint of the authorization server, for oauth2."""
    audience: Audience | None = None
    """The back end, as the authorization server calls it."""
    scopes: tuple[OAuthScope, ...] = ()
    """Scopes to ask for, for oauth2."""

    @model_validator(mode="after")
    def _has_secret(self) -> Self:
        if self.type != "none" and self.secret_ref is None:
            raise ValueError(f"type {self.type} needs secretRef")
        if self.scheme is not None and self.secret_ref is None:
            raise ValueError("scheme needs secretRef")
        return self

    @model_validator(mode="after")
    def _has_what_its_type_needs(self) -> Self:
        if self.type != "oauth2":
            alien = [name for name in ("audience", "grant", "scopes", "token_url") if getattr(self, name)]
            if alien:
                raise ValueError(f"{to_camel(alien[0])} is for type oauth2; remove it, or write type: oauth2")
            return self
        if self.token_url is None:
            raise ValueError("type oauth2 needs tokenUrl, the URL of the token endpoint")
        if self.grant == "tokenExchange" and self.audience is None:
            raise ValueError("grant tokenExchange needs audience, the back end as the authorization server calls it")
        if self.secret_ref is not None and self.secret_ref.key is not None:
            raise ValueError(
                "type oauth2 uses the entries clientId and clientSecret of the secret; remove secretRef.key"
            )
        return self

    def to_domain(self) -> Authentication:
        secret = self.secret_ref and self.secret_ref.to_domain()
        grant = None
        if self.token_url is not None:
            grant = TokenGrant(
                type=self.grant or "clientCredentials",
                token_url=self.token_url,
                audience=self.audience,
                scopes=self.scopes,
            )
        return Authentication(
            type=self.type,
            secret=secret,
            grant=grant,
            location=self.location,
            parameter_name=self.header_name,
            scheme=self.scheme,
        )


class AuthenticationManifest(CredentialManifest):
    """Authentication of the gateway at the back end. In files it may be a list: the first credential, with the others
    as `also`."""

    also: tuple[CredentialManifest, ...] = Field(default=(), max_length=8)
    """Further credentials that each request carries too, such as a second key."""

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, written: Any) -> Any:
        if not is_array(written):
            return written
        if not written or not is_object(written[0]):
            raise ValueError("write a list of credentials, each a mapping")
        return {**written[0], "also": written[1:]}

    @model_validator(mode="after")
    def _has_one_token(self) -> Self:
        if any(further.type == "oauth2" for further in self.also):
            raise ValueError("also: write the credential of type oauth2 first; a request carries one")
        return self

    def to_domain(self) -> Authentication:
        also = tuple(further.to_domain() for further in self.also)
        return super().to_domain().model_copy(update={"also": also})


class AnnotationsManifest(ManifestModel):
    title: str | None = None
    read_only_hint: bool | None = None
    destructive_hint: bool | None = None
    idempotent_hint: bool | None = None
    open_world_hint: bool | None = None

    def to_domain(self) -> ToolAnnotations:
        return ToolAnnotations(**self.model_dump(exclude={"title"}))


class RateLimitManifest(ManifestModel):
    requests_per_minute: RequestsPerMinute
    """Sustained calls a minute."""
    burst: Burst = 1
    """Calls at once."""
    fail: WhenAway = "share"
    """While the common store is away, each replica admits its share, or none."""

    def to_domain(self) -> RateLimit:
        return RateLimit(requests_per_minute=self.requests_per_minute, burst=self.burst, fail=self.fail)


class MeteringManifest(ManifestModel):
    arguments: MeteredArguments = ()
    """Arguments whose values the metering event holds."""


class _Metadata(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # Kubernetes adds fields of its own

    name: str = Field(pattern=_NAME, max_length=128)
    namespace: str | None = None
    labels: dict[str, str] = {}

    @field_validator("namespace")
    @classmethod
    def _names_a_tenant(cls, namespace: str | None) -> str | None:
        if namespace is not None:
            _TENANT.validate_python(namespace.removeprefix("tenant-"))
        return namespace


class Manifest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    api_version: Literal["gostoa.dev/v1alpha1"] = Field(alias="apiVersion")
    metadata: _Metadata
    status: Any = None  # written by the cluster, not read here

    @property
    def tenant(self) -> TenantId | None:
        """The namespace without a leading `tenant-`; None: no namespace, global."""
        namespace = self.metadata.namespace
        return TenantId(namespace.removeprefix("tenant-")) if namespace else None


def _hint(written: str, members: Collection[str]) -> str:
    """A suggestion for a misspelt field, from the fields of all manifests and the members that back ends define."""
    models: list[type[BaseModel]] = [ManifestModel, Manifest]
    names = set(members)
    for model in models:  # grows while it is walked
        models += model.__subclasses__()
        names |= {field.alias or name for name, field in model.model_fields.items()}
    by_lower_case = {name.lower(): name for name in names - {written}}
    close = get_close_matches(written.lower(), sorted(by_lower_case), n=1, cutoff=0.8)
    if close:
        return f"; did you mean {by_lower_case[close[0]]}?"
    return " here; check the indentation" if written in names else ""


def describe_manifest_error(
    caught: ValidationError, *, within: tuple[str, ...] = (), members: Collection[str] = ()
) -> str:
    """Like `describe_validation_error`, with a suggestion for a misspelt field. `members`: the members of `spec` that
    back ends define."""
    return describe_validation_error(caught, lambda written: _hint(written, members), within, words=_WORDS)


P = TypeVar("P", bound=ManifestModel)


def split_spec(document: JsonObject, models: Mapping[str, type[P]]) -> tuple[JsonObject, dict[str, P], list[str]]:
    """A manifest without the members of its `spec` that `models` describe, these members, and the problems in them.
    They are validated apart, because each back end brings its own."""
    spec = document.get("spec")
    if not is_object(spec):
        return document, {}, []
    parts: dict[str, P] = {}
    problems: list[str] = []
    written = [member for member in models if member in spec]
    if len(written) > 1:
        problems.append(f"spec.{written[-1]}: set exactly one of {' and '.join(written)}")
    for member in written:
        try:
            parts[member] = models[member].model_validate(spec[member])
        except ValidationError as caught:
            problems.append(describe_manifest_error(caught, within=("spec", member), members=models))
    rest = {name: value for name, value in spec.items() if name not in models}
    return {**document, "spec": rest}, parts, problems


M = TypeVar("M", bound=Manifest)


def validated(kind: type[M], document: JsonObject, problems: Sequence[str], members: Collection[str]) -> M:
    """The manifest in `document`. Raises InvalidInput with its problems and with the given `problems`, if any."""
    try:
        manifest = kind.model_validate(document)
    except ValidationError as caught:
        raise InvalidInput("; ".join([describe_manifest_error(caught, members=members), *problems])) from caught
    if problems:
        raise InvalidInput("; ".join(problems))
    return manifest


def split_endpoint(endpoint: str) -> SplitResult:
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


def placeholders(url: SplitResult) -> list[str]:
    return list(dict.fromkeys(_PLACEHOLDER.findall(url.path)))


def rest_binding(endpoint: str, method: str, schema: JsonObject) -> RestBinding:
    """The REST binding of a Tool. Arguments named like a `{placeholder}` of the endpoint go into the path; the others
    into the query if the method has no body, else into a JSON body."""
    if schema.get("type") != "object":
        raise InvalidInput("spec.inputSchema.type: expected object")
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not is_object(properties) or not is_array(required):
        raise InvalidInput("spec.inputSchema: expected properties as a mapping and required as a list of their names")
    url = split_endpoint(endpoint)
    in_path = placeholders(url)
    for name in in_path:
        if name not in properties or name not in required:
            raise InvalidInput(f"spec.inputSchema: the endpoint needs {{{name}}}; declare it as a required property")
    rest = [name for name in properties if name not in in_path]
    parameters = [
        RestParameter(argument=name, name=name, location="path", style="simple", explode=False) for name in in_path
    ]
    body = None
    if method in _WITHOUT_BODY:
        parameters += [
            RestParameter(argument=name, name=name, location="query", style="form", explode=True) for name in rest
        ]
    elif rest:
        body = RestBody(media_type="application/json", fields={name: name for name in rest}, required=True)
    base, path = _own_path(url.path)
    return RestBinding(
        method=method,
        base_url=f"{url.scheme}://{url.netloc}{base}",
        path=path,
        fixed_query=tuple(parse_qsl(url.query, keep_blank_values=True)),
        parameters=tuple(parameters),
        body=body,
    )


def _own_path(path: str) -> tuple[str, str]:
    """The segments before the first placeholder, which no request and no redirect of the tool leaves, and the rest."""
    constant = path.partition("{")[0]
    base = constant.rstrip("/") if constant == path else constant.rpartition("/")[0]
    return base, path[len(base) :] or ("" if base else "/")
