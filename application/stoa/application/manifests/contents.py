"""Manifests of the kinds Resource and Prompt."""

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from stoa.application.backends.static_backend import check_placeholders
from stoa.application.manifests.fields import (
    AuthenticationManifest,
    EndpointField,
    Manifest,
    RateLimitManifest,
    Timeout,
    placeholders,
    rest_binding,
    split_endpoint,
)
from stoa.application.ports.manifest_parts import ManifestModel, exactly_one, rules
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.binding import (
    BASE64_PATTERN,
    Binding,
    StaticBinding,
    StaticImage,
    StaticMessage,
    StaticResource,
    is_base64,
)
from stoa.domain.operations.icon import Icons
from stoa.domain.operations.operation import string_schema
from stoa.domain.operations.prompt import Prompt, PromptArgument
from stoa.domain.operations.resource import Resource, ResourceUri
from stoa.domain.operations.tool import ToolName
from stoa.domain.operations.uri_template import UriTemplate


class ResourceSpec(ManifestModel):
    """The resource."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (exactly_one("uri", "uriTemplate"), "spec.uri, spec.uriTemplate: set exactly one of them"),
            (
                exactly_one("text", "blob", "endpoint"),
                "spec.text, spec.blob, spec.endpoint: set exactly one of them",
            ),
            (
                "!has(self.uriTemplate) || has(self.endpoint)",
                "spec.uriTemplate: needs spec.endpoint; spec.text and spec.blob belong to one spec.uri",
            ),
            (
                (
                    "[has(self.uri) ? self.uri : '', has(self.uriTemplate) ? self.uriTemplate : '']"
                    ".all(uri, !uri.lowerAscii().startsWith('stoa:'))"
                ),
                "spec.uri, spec.uriTemplate: the scheme stoa is the gateway's own; choose another",
            ),
            ("!has(self.uri) || !self.uri.matches('[{}]')", "spec.uri: a uri has no {variable}; write uriTemplate"),
            (
                (
                    "!has(self.uriTemplate) || self.uriTemplate.matches("
                    r"'^[^{}]*[{][A-Za-z_][A-Za-z0-9_]*[}]([^{}]+[{][A-Za-z_][A-Za-z0-9_]*[}])*[^{}]*$')"
                ),
                "spec.uriTemplate: write variables as {name}, with text between two of them",
            ),
            (
                (
                    "!has(self.uriTemplate) || self.uriTemplate.findAll('[{][^{}]*[}]').all(name,"
                    " self.uriTemplate.indexOf(name) == self.uriTemplate.lastIndexOf(name))"
                ),
                "spec.uriTemplate: a variable stands there twice",
            ),
            (
                (
                    "!has(self.endpoint) || self.endpoint.findAll('[{][^{}]+[}]').all(name,"
                    " has(self.uriTemplate) && self.uriTemplate.contains(name))"
                ),
                "spec.endpoint: a {placeholder} has to be a variable of spec.uriTemplate",
            ),
            (
                (
                    "!has(self.completions) || self.completions.all(name,"
                    " has(self.uriTemplate) && self.uriTemplate.contains('{' + name + '}'))"
                ),
                "spec.completions: a name has to be a variable of spec.uriTemplate",
            ),
        )
    )

    uri: ResourceUri | None = None
    """Absolute URI of one resource."""
    uri_template: ResourceUri | None = Field(default=None, json_schema_extra={"maxLength": 1024})
    """URI with `{variables}` (RFC 6570 level 1) of many."""
    display_name: str | None = None
    """Title for people."""
    description: str = ""
    """Description for people and agents."""
    mime_type: str | None = None
    """Media type of the contents."""
    size: int | None = Field(default=None, ge=0)
    """Size in bytes."""
    completions: dict[str, tuple[str, ...]] = Field(default={}, json_schema_extra={"maxProperties": 16})
    """Values to propose, by variable of the template."""
    text: str | None = None
    """The contents as text."""
    blob: str | None = Field(default=None, json_schema_extra={"pattern": BASE64_PATTERN})
    """The contents in base64."""
    endpoint: EndpointField = None
    """URL to GET the contents from; its path is filled from the variables."""
    icons: Icons = ()
    """Pictures that clients may show."""
    tags: tuple[str, ...] = ()
    """Filters of lists, and scopes, as for a Tool."""
    authentication: AuthenticationManifest = AuthenticationManifest()
    """Authentication at the endpoint."""
    timeout: Timeout = 30.0
    """Time for one read, such as 500ms or 30s; at most 5m."""
    rate_limit: RateLimitManifest | None = None
    """Limit of the resource, counted per calling tenant."""
    enabled: bool = True
    """false leaves the resource out."""


class ResourceManifest(Manifest):
    """One resource, or a template of many."""

    kind: Literal["Resource"]
    spec: ResourceSpec

    def to_operation(self) -> Resource:
        """The resource. Raises InvalidInput or pydantic.ValidationError."""
        spec = self.spec
        _check_sources(spec)
        uri = spec.uri_template or spec.uri or ""
        return Resource(
            uri=uri,
            name=self.metadata.name,
            tenant=self.tenant,
            title=spec.display_name,
            description=spec.description,
            mime_type=spec.mime_type,
            size=self._size(),
            completions=spec.completions,
            icons=spec.icons,
            tags=spec.tags,
            binding=self._binding(uri),
            timeout_seconds=spec.timeout,
            rate_limit=None if spec.rate_limit is None else spec.rate_limit.to_domain(),
            authentication=spec.authentication.to_domain(),
            enabled=spec.enabled,
        )

    def _size(self) -> int | None:
        text = self.spec.text
        return len(text.encode("utf-8", "replace")) if self.spec.size is None and text is not None else self.spec.size

    def _binding(self, uri: str) -> Binding:
        spec = self.spec
        field = "uri" if spec.uri_template is None else "uriTemplate"
        try:
            variables = UriTemplate(uri).names
        except ValueError as caught:
            raise InvalidInput(f"spec.{field}: {caught}") from caught
        if bool(variables) != (field == "uriTemplate"):
            raise InvalidInput(f"spec.{field}: a uriTemplate has a {{variable}}, a uri has none")
        for name in spec.completions:
            if name not in variables:
                raise InvalidInput(f"spec.completions: {name} is not a variable of spec.uriTemplate")
        if spec.endpoint is None:
            contents = StaticResource(uri=uri, mime_type=spec.mime_type, text=spec.text, blob=spec.blob)
            return StaticBinding(contents=(contents,))
        for name in placeholders(split_endpoint(spec.endpoint)):
            if name not in variables:
                raise InvalidInput(f"spec.endpoint: {{{name}}} is not a variable of spec.uriTemplate")
        return rest_binding(spec.endpoint, "GET", string_schema({name: {} for name in variables}, list(variables)))


def _check_sources(spec: ResourceSpec) -> None:
    """Require exactly one source of contents. Raises InvalidInput."""
    if (spec.uri is None) == (spec.uri_template is None):
        raise InvalidInput("spec.uri, spec.uriTemplate: set exactly one of them")
    if (spec.uri or spec.uri_template or "").lower().startswith("stoa:"):
        # Else a tenant could put its own text where its callers look for the gateway's.
        raise InvalidInput("spec.uri, spec.uriTemplate: the scheme stoa is the gateway's own; choose another")
    if [spec.text, spec.blob, spec.endpoint].count(None) != 2:
        raise InvalidInput("spec.text, spec.blob, spec.endpoint: set exactly one of them")
    if spec.uri_template is not None and spec.endpoint is None:
        raise InvalidInput("spec.uriTemplate: needs spec.endpoint; spec.text and spec.blob belong to one spec.uri")
    if spec.blob is not None and not is_base64(spec.blob):
        raise InvalidInput("spec.blob: not base64 (RFC 4648 section 4)")


class _Argument(ManifestModel):
    name: ToolName
    """Name in `{{placeholders}}`."""
    title: str | None = None
    """Title for people."""
    description: str = ""
    """Description of the value, for people and agents."""
    required: bool = False
    """The prompt is refused without it."""
    completions: tuple[str, ...] = ()
    """Values to propose."""


class _Image(StaticImage, ManifestModel):
    pass


class _Resource(StaticResource, ManifestModel):
    model_config = ConfigDict(
        json_schema_extra=rules((exactly_one("text", "blob"), "set exactly one of text and blob"))
    )


class _Message(ManifestModel):
    model_config = ConfigDict(
        json_schema_extra=rules(
            (exactly_one("text", "image", "resource"), "set exactly one of text, image and resource")
        )
    )

    role: Literal["user", "assistant"] = "user"
    """Speaker of the message."""
    text: str | None = None
    """Text, with `{{placeholders}}`."""
    image: _Image | None = None
    """A picture."""
    resource: _Resource | None = None
    """Contents of a resource."""

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        self.to_domain()
        return self

    def to_domain(self) -> StaticMessage:
        return StaticMessage.model_validate(self.model_dump())


class PromptSpec(ManifestModel):
    """The prompt."""

    display_name: str | None = None
    """Title for people."""
    description: str = ""
    """Description for people and agents."""
    arguments: tuple[_Argument, ...] = Field(
        default=(), json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    )
    """Arguments that callers fill in."""
    messages: tuple[_Message, ...] = Field(min_length=1)
    """Messages of the prompt, in order."""
    icons: Icons = ()
    """Pictures that clients may show."""
    tags: tuple[str, ...] = ()
    """Filters of lists, and scopes, as for a Tool."""
    enabled: bool = True
    """false leaves the prompt out."""


class PromptManifest(Manifest):
    """One prompt."""

    kind: Literal["Prompt"]
    spec: PromptSpec

    def to_operation(self) -> Prompt:
        """The prompt. Raises InvalidInput or pydantic.ValidationError."""
        spec = self.spec
        if len({argument.name for argument in spec.arguments}) < len(spec.arguments):
            raise InvalidInput("spec.arguments: two of them have the same name")
        prompt = Prompt(
            name=self.metadata.name,
            tenant=self.tenant,
            title=spec.display_name,
            description=spec.description,
            arguments=tuple(PromptArgument(**argument.model_dump()) for argument in spec.arguments),
            icons=spec.icons,
            tags=spec.tags,
            binding=StaticBinding(messages=tuple(message.to_domain() for message in spec.messages)),
            enabled=spec.enabled,
        )
        try:
            check_placeholders(prompt)  # here too, so that a file with a bad one keeps its last good version
        except InvalidInput as refused:
            raise InvalidInput(f"spec.messages, spec.arguments: {refused.message}") from refused
        return prompt
