"""API descriptions: fetching the document, and converting it to tools."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from stoa.application.ports.upstream_access import UpstreamAccess
from stoa.domain.access.identity import TenantId
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.finding import Finding
from stoa.domain.operations.icon import Icon
from stoa.domain.operations.prompt import Prompt
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import ApiReference, Authentication, Tool, Validation


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A further file of a description in several files."""

    name: str
    """Its path below the folder that the files of the description lie in, with slashes."""
    text: str
    problem: str = ""
    """The reason why it could not be read; `text` is then empty."""


@dataclass(frozen=True, slots=True)
class SpecDocument:
    """An API description as it was fetched. `location` names it in findings and resolves its relative server URLs."""

    location: str
    text: str
    media_type: str | None = None
    """None means JSON or YAML."""
    version: str = ""
    """Equal for equal texts at one location, so that an unchanged one needs no digest; empty: not known."""
    name: str = ""
    """The path of the document itself below the folder of `files`."""
    files: tuple[SpecFile, ...] = ()
    """The files that the document refers to, directly or through others of them."""


@dataclass(frozen=True, slots=True)
class SpecCredential:
    """The gateway's authentication at the server that a description is fetched from."""

    authentication: Authentication
    tenant: TenantId | None = None
    """The tenant whose secret `authentication` names; None: the platform's."""
    access: UpstreamAccess | None = None
    """The source of access tokens; None: the authentication is not oauth2."""


class SpecSource(Protocol):
    """Laws: an equal answer for an unchanged document; bounded in size and time.

    Raises InvalidInput (nothing there, not text, too large) or Unavailable (cannot be reached now); the message names
    the location and what to change, never what a foreign server answered.
    """

    @abstractmethod
    async def fetch(self, location: str, *, root: str = "", credential: SpecCredential | None = None) -> SpecDocument:
        """Fetch the description at a file path or an http(s) URL. A file must lie below the folder `root`, links
        followed; empty: anywhere. `credential`: shown to a server that refuses the request without one, and to no other
        origin than that of the location."""
        ...


@runtime_checkable
class FollowedDocuments(Protocol):
    """The other side of a SpecSource that follows its documents. Laws: two equal versions of a location mean that
    `fetch` gives the same for it."""

    @abstractmethod
    def version_of(self, location: str) -> str:
        """The version of what `fetch` would give now: of the document, or of its absence. For a location that was
        fetched before; costs next to nothing. Empty: not known without fetching."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionOptions:
    """Options of a ToolSet for the conversion of its description."""

    tenant: TenantId | None = None
    api: ApiReference | None = None
    """None takes title and version of the document."""
    base_url: str | None = None
    """Replaces the document's servers."""
    include_tags: frozenset[str] = frozenset()
    """Keep operations with any of these tags; empty: all."""
    exclude_tags: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()
    """Keep operations with these methods, in upper case; empty: all."""
    path_prefix: str = ""
    operation_ids: frozenset[str] = frozenset()
    name_prefix: str = ""
    name_suffix: str = ""
    media_types: tuple[str, ...] = ()
    """Media types of bodies that are sent before others, where an operation takes several."""
    use_operation_id: bool = True
    """False: names are made from method and path."""
    extra_tags: tuple[str, ...] = ()
    icons: tuple[Icon, ...] = ()
    """Icons of every tool; empty: the logo that the description names, if any."""
    timeout_seconds: float = 30.0
    rate_limit: RateLimit | None = None
    authentication: Authentication = Authentication()
    metered_arguments: tuple[str, ...] = ()
    """Metered arguments of every tool that has them."""
    validation: Validation = "lenient"
    """Strictness of the checks of calls, for descriptions that people write by hand; exact ones are always strict."""
    tries_examples: bool = False
    """True: the request examples of the description are held against the tools, which takes time."""


@dataclass(frozen=True, slots=True)
class DescribedOperation:
    """One operation of a description that was selected."""

    operation: str
    """As a person would look for it, `GET /pets/{id}`; the findings about it begin so after their location."""
    tool: str | None
    """The name of its tool; None: it is left out."""
    reason: str = ""
    """Why it is left out."""


@dataclass(frozen=True, slots=True)
class TriedExample:
    """A request example of a description, held against the tool of its operation."""

    operation: str
    example: str
    """Its name: `query parameter size example`, `requestBody application/json examples/small`."""
    refusal: str | None
    """Why the tool refuses it; None: it is accepted."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """The tools in document order, and a finding for everything that was left out or changed."""

    tools: tuple[Tool, ...]
    findings: tuple[Finding, ...] = ()
    withheld_origins: frozenset[str] = frozenset()
    """Origins that the description names and no tool was made for, because the credential is not meant for them."""
    contents: tuple[Resource | Prompt, ...] = ()
    """Resources and prompts, of a description that has them."""
    operations: tuple[DescribedOperation, ...] = ()
    """The selected operations; empty for a kind of description whose tools are all that can be told."""
    examples: tuple[TriedExample, ...] = ()
    """Its request examples, where the options ask for them."""
    are_compiled: bool = False
    """True: the converter has compiled the schemas of all its tools, so that it need not be done again."""


class SpecConverter(Protocol):
    """Laws: pure; equal input gives equal output. Names are unique within one conversion and no operation that can be
    called is lost: each selected operation yields a tool or an error finding. With an authentication, the tools of a
    fetched description are called at `base_url`, or else at the origin that it was fetched from.

    Raises InvalidInput, naming file, line and reason, when the document is not of this kind at all.
    """

    @abstractmethod
    def convert(self, document: SpecDocument, options: ConversionOptions) -> Conversion: ...
