"""A Resource: something an agent may read under a URI, or under every URI of a template."""

from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from stoa.domain.operations.operation import Kind, Operation, string_schema
from stoa.domain.operations.uri_template import UriTemplate

ResourceUri = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[!-~]+$", max_length=2048)]
"""An absolute URI (RFC 3986), or a template of level 1 (RFC 6570)."""


class Resource(Operation):
    """One resource, or with `{variables}` in its URI a template of many.

    A template's variables are its arguments: strings, unless its input schema says otherwise.
    """

    kind: ClassVar[Kind] = "resource"

    uri: ResourceUri
    name: str = ""
    """A short name for people and logs (MCP `name`); empty: the URI."""
    mime_type: str | None = None
    size: int | None = Field(default=None, ge=0)
    """Size in bytes, if known."""
    completions: dict[str, tuple[str, ...]] = Field(default={})
    """Values to propose for a variable of a template; others are allowed too."""

    @field_validator("uri")
    @classmethod
    def _is_template_of_level_1(cls, uri: str) -> str:
        UriTemplate(uri)
        return uri

    @model_validator(mode="before")
    @classmethod
    def _takes_its_variables(cls, fields: Any) -> Any:
        match fields:
            case {"uri": str() as uri} if "input_schema" not in fields:
                names = list(UriTemplate(uri).names)
                return {**fields, "input_schema": string_schema({name: {} for name in names}, names)}
            case _:
                return fields

    @model_validator(mode="after")
    def _proposes_for_its_variables(self) -> Self:
        if unknown := self.completions.keys() - set(self.template.names):
            raise ValueError(f"completions for {', '.join(sorted(unknown))}, which is no variable of the URI template")
        return self

    @cached_property
    def identifier(self) -> str:
        return self.uri

    @cached_property
    def template(self) -> UriTemplate:
        return UriTemplate(self.uri)

    @property
    def is_template(self) -> bool:
        return bool(self.template.names)

    def match(self, uri: str) -> dict[str, str] | None:
        """The arguments that `uri` carries; None if this resource does not match it."""
        if self.is_template:
            return self.template.match(uri)
        return {} if uri == self.uri else None
