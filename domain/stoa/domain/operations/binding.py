"""Bindings: how an operation reaches its back end, and how the gateway authenticates there."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny, StringConstraints, model_validator

from stoa.domain.operations.access import MethodProperties, properties_of_http_method
from stoa.domain.value import Strict

SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=253)]
SecretKey = Annotated[str, StringConstraints(pattern=r"^[-A-Za-z0-9_.]+$", max_length=253)]


HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^/?#@\\\s]+(/[^?#\\\s]*)?$", max_length=2048)]
"""An http(s) URL without user, query and fragment."""


class SecretReference(Strict):
    """Names a secret of the tool's own tenant; it can never name another's (see CredentialSource)."""

    name: SecretName
    key: SecretKey | None = None
    """One entry of a secret with several; None: the entry that the authentication type expects."""


_TOKEN_URL = re.compile(r"https?://[^/?#@\\\s]+(/[^?#\\\s]*)?(\?[^#\\\s]*)?")
_CLIMBING = re.compile(r"(^|/)\.{1,2}(/|$)|%2e|%2f|%5c", re.IGNORECASE)


def _token_url(text: str) -> str:
    if _TOKEN_URL.fullmatch(text):
        try:
            url = urlsplit(text)
            if url.hostname and url.port != 0 and not _CLIMBING.search(url.path):
                return text
        except ValueError:
            pass
    raise ValueError("write the http(s) URL of the token endpoint, without user, fragment and dot segments")


TokenUrl = Annotated[
    str,
    StringConstraints(max_length=2048),
    AfterValidator(_token_url),
    Field(json_schema_extra={"pattern": rf"^{_TOKEN_URL.pattern}$"}),
]
"""An http(s) URL whose path has no dot segments, so that a request cannot leave the path that the URL shows."""
Audience = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=1024)]
OAuthScope = Annotated[str, StringConstraints(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+$", max_length=256)]
"""One scope (RFC 6749 section 3.3)."""
GrantType = Literal["clientCredentials", "tokenExchange"]


class TokenGrant(Strict):
    """Obtains access tokens for the back end from an OAuth2 token endpoint. The secret of the authentication has the
    entries `clientId` and `clientSecret`."""

    type: GrantType
    """Client credentials, for the gateway itself (RFC 6749 section 4.4), or token exchange, in the caller's name (RFC
    8693)."""
    token_url: TokenUrl
    audience: Audience | None = None
    """The back end that the token is for, as the authorization server names it."""
    scopes: tuple[OAuthScope, ...] = ()

    @model_validator(mode="after")
    def _is_bound(self) -> Self:
        if self.type == "tokenExchange" and self.audience is None:
            raise ValueError("tokenExchange needs audience: a token in the caller's name is for one back end only")
        return self


class Authentication(Strict):
    """The gateway's authentication at the back end. The caller's own token never goes there."""

    type: Literal["none", "bearer", "basic", "apiKey", "oauth2"] = "none"
    secret: SecretReference | None = None
    grant: TokenGrant | None = None
    """The token grant; set for oauth2 only."""
    location: Literal["header", "query", "cookie"] = "header"
    """The part of the request that carries an apiKey."""
    parameter_name: str = "X-API-Key"
    """Name of the header, query parameter or cookie that carries an apiKey."""
    scheme: str | None = None
    """The security scheme of a description that says how the secret is sent (OpenAPI 3.1 section 4.8.27); None once
    that is known: no operation is called with one."""
    also: tuple["Authentication", ...] = ()
    """Further credentials that each request carries too; none of them is of type oauth2."""

    @model_validator(mode="after")
    def _has_one_list(self) -> Self:
        if any(further.also or further.type == "oauth2" for further in self.also):
            raise ValueError("also: further credentials are bearer, basic or apiKey, and have no others of their own")
        return self

    @property
    def entries(self) -> tuple["Authentication", ...]:
        """All credentials of a request, each by itself; empty without any."""
        own = self.model_copy(update={"also": ()}) if self.also else self
        return tuple(entry for entry in (own, *self.also) if entry.type != "none" or entry.scheme is not None)


class Binding(Strict):
    """The way from an operation to its back end. Each kind of back end derives its own model, with `kind` as a literal;
    deriving it registers the kind, so that the JSON form of an operation can be read."""

    kind: Any  # a literal in each derived model, which a type checker takes for no narrowing of str
    """The ToolBackend of the same `kind` serves it."""

    _models: ClassVar[dict[str, type["Binding"]]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        kind = cls.model_fields["kind"].default
        if not isinstance(kind, str):
            raise TypeError(f'{cls.__name__}: write `kind: Literal["..."] = "..."`')
        other = Binding._models.setdefault(kind, cls)
        # The same class again is a reloaded module; another one would silently take the place of the first.
        if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"{cls.__name__}: {other.__module__}.{other.__name__} is the binding of kind {kind}")
        Binding._models[kind] = cls

    @staticmethod
    def of(value: Any) -> Any:
        """The binding that a mapping describes by its `kind`; any other value unchanged. Raises ValueError."""
        if not isinstance(value, Mapping):
            return value
        content: dict[str, Any] = {**value}
        model = Binding._models.get(str(content.get("kind")))
        if model is None:
            raise ValueError(f"kind: expected one of {', '.join(sorted(Binding._models))}")
        return model.model_validate(content)

    @property
    def method_properties(self) -> MethodProperties | None:
        """Protocol facts that the author of a tool cannot override; None where the protocol has none, and the tool's
        annotations alone decide."""
        return None

    @property
    def origins(self) -> frozenset[str]:
        """The origins that calls and their credentials go to (RFC 6454 section 4); empty if they stay within this
        process."""
        return frozenset()

    @property
    def takes_others(self) -> bool:
        """True if calls have a place for arguments that the input schema does not name."""
        return False

    @property
    def is_listed(self) -> bool:
        """False for what callers reach only by an identifier that an answer gave them."""
        return True

    @property
    def summary(self) -> str:
        """A few words for `stoa tools` that name what is called."""
        return str(self.kind)


AnyBinding = Annotated[SerializeAsAny[Binding], BeforeValidator(Binding.of)]


class RestParameter(Strict):
    """The encoding of one argument as a parameter of the request (OpenAPI 3.1 section 4.8.12)."""

    argument: str
    """Key in the tool's arguments."""
    name: str
    """Name on the wire; "": the value is the whole query (OpenAPI 3.2, `in: querystring`)."""
    location: Literal["path", "query", "header", "cookie"]
    style: Literal["simple", "label", "matrix", "form", "spaceDelimited", "pipeDelimited", "tabDelimited", "deepObject"]
    explode: bool
    allow_reserved: bool = False
    """Reserved characters are not percent-encoded; in a cookie, all that its value may hold."""
    is_json: bool = False
    """The value is sent as JSON text (`content: application/json` instead of a style)."""
    required: bool = False
    """An empty list is sent as the style says (`name=`); without, it is as if the argument was not given."""


class FormField(Strict):
    """The encoding of one property of a form, urlencoded or multipart (OpenAPI 3.1 section 4.8.15)."""

    style: Literal["form", "spaceDelimited", "pipeDelimited", "tabDelimited", "deepObject"] = "form"
    explode: bool = True
    is_json: bool = False
    is_file: bool = False
    """The value stands for bytes: base64, a data: URI, or text. Multipart only."""
    content_type: str = ""
    """Content type of the part; "": by the value. Multipart only."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers of the part, name and value. Multipart only."""


class XmlElement(Strict):
    """The form of a value in XML (OpenAPI 3.1 section 4.8.26, the XML Object)."""

    name: str = ""
    """Name of the element or attribute; "": that of the member."""
    namespace: str = ""
    prefix: str = ""
    is_attribute: bool = False
    is_text: bool = False
    """The value is the text of the element around it (3.2, `nodeType: text`)."""
    is_wrapped: bool = False
    """The entries of an array stand in an element of their own."""
    items: "XmlElement | None" = None
    members: dict[str, "XmlElement"] = Field(default={})


class RestBody(Strict):
    """The encoding of arguments as the request body; exactly one of `argument` and `fields` is set."""

    media_type: str
    argument: str | None = None
    """The whole body is this argument."""
    fields: dict[str, str] | None = None
    """The body is an object: argument name to property name."""
    required: bool = False
    """Send an empty object or form when no argument of the body is given."""
    takes_others: bool = False
    """Arguments that nothing else names become members of the body, next to `fields`."""
    form: dict[str, FormField] = Field(default={})
    """Property name to its encoding, for forms; absent: the default."""
    xml: XmlElement | None = None
    """The root element, for a body that is XML; None: the argument is XML text."""


_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> str:
    """Scheme, host and port of an http(s) URL, equal for equal origins (RFC 6454 section 4). Any other URL is an origin
    of its own."""
    try:
        parts = urlsplit(url)
        port = _DEFAULT_PORTS.get(parts.scheme) if parts.port is None else parts.port
    except ValueError:
        return url
    return f"{parts.scheme}://{parts.hostname or ''}:{port}"


class RestBinding(Binding):
    """One HTTP operation."""

    kind: Literal["rest"] = "rest"
    method: str = Field(pattern=r"^[A-Z]+$")
    base_url: str = Field(pattern=r"^https?://[^/?#]+[^?#]*$")
    """Scheme, host and base path. No request of this tool ever leaves it."""
    path: str
    """Path template below the base, `/pets/{petId}`; a placeholder is the wire name of a path parameter."""
    parameters: tuple[RestParameter, ...] = ()
    fixed_query: tuple[tuple[str, str], ...] = ()
    """Query parameters that belong to the operation's path; callers cannot choose them."""
    body: RestBody | None = None
    accept: str = "application/json, */*;q=0.8"
    response_headers: tuple[str, ...] = ()
    """Response headers that the API documents; `stoa.domain.results.response_headers` decides which of them callers
    see."""

    @property
    def method_properties(self) -> MethodProperties:
        return properties_of_http_method(self.method)

    @property
    def takes_others(self) -> bool:
        return self.body is not None and self.body.takes_others

    @property
    def origins(self) -> frozenset[str]:
        return frozenset({origin_of(self.base_url)})

    @property
    def summary(self) -> str:
        """Method and path, as the back end sees them."""
        return f"{self.method} {urlsplit(f'{self.base_url}{self.path}').path}"


class LocalBinding(Binding):
    """A Python function of the embedding program, by its key in the LocalBackend."""

    kind: Literal["local"] = "local"
    function: str

    @property
    def summary(self) -> str:
        return "function"


def is_base64(text: str) -> bool:
    """True for padded Base64 (RFC 4648 section 4)."""
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _base64(text: str) -> str:
    if not is_base64(text):
        raise ValueError("not base64 (RFC 4648 section 4)")
    return text


BASE64_PATTERN = r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
Base64 = Annotated[str, AfterValidator(_base64), Field(json_schema_extra={"pattern": BASE64_PATTERN})]


class TlsSecrets(Strict):
    """Secrets for TLS with an authority of one's own, and for mTLS; absent: the gateway's trust store, no client
    certificate."""

    ca: SecretReference | None = None
    """PEM certificates, entry `ca.crt`."""
    client: SecretReference | None = None
    """PEM certificate and key, entries `tls.crt` and `tls.key`."""


MAX_STREAM_MESSAGES = 1000


class StreamBounds(Strict):
    """Where reading a stream of messages ends; the call then succeeds with what has come."""

    max_messages: int = Field(default=100, ge=1, le=MAX_STREAM_MESSAGES)
    max_bytes: int = Field(default=1024 * 1024, ge=1, le=8 * 1024 * 1024)
    max_seconds: float = Field(default=10.0, gt=0, le=300)


class StaticResource(Strict):
    """Contents written in the manifest; exactly one of `text` and `blob` is set."""

    uri: str
    mime_type: str | None = None
    text: str | None = None
    blob: Base64 | None = None

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        if (self.text is None) == (self.blob is None):
            raise ValueError("set exactly one of text and blob")
        return self


class StaticImage(Strict):
    data: Base64
    mime_type: str


class StaticMessage(Strict):
    """One message of a prompt; exactly one of `text`, `image` and `resource` is set."""

    role: Literal["user", "assistant"]
    text: str | None = None
    image: StaticImage | None = None
    resource: StaticResource | None = None

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        if [self.text, self.image, self.resource].count(None) != 2:
            raise ValueError("set exactly one of text, image and resource")
        return self


class StaticBinding(Binding):
    """Contents of a resource, or messages of a prompt, that are written in the manifest.

    In a message's text, and in the URI and text of its resource, `{{argument}}` stands for an argument's value.
    """

    kind: Literal["static"] = "static"
    contents: tuple[StaticResource, ...] = ()
    messages: tuple[StaticMessage, ...] = ()


class AnswerBinding(Binding):
    """A piece of an answer that was too long to be given at once; the arguments `answer` and `piece` select it."""

    kind: Literal["answer"] = "answer"

    @property
    def is_listed(self) -> bool:
        return False


class PageBinding(Binding):
    """A page that the gateway writes about a tool of the caller's view; the argument `name` selects the tool."""

    kind: Literal["page"] = "page"
