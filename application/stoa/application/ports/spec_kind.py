"""One kind of description that a ToolSet can be made from: OpenAPI, GraphQL, gRPC, an MCP server."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from stoa.application.ports.manifest_parts import SourceManifest
from stoa.application.ports.spec import SpecConverter, SpecDocument
from stoa.application.ports.upstream_access import UpstreamAccess
from stoa.domain.access.identity import TenantId
from stoa.domain.operations.binding import Authentication
from stoa.domain.origin import Origin

S = TypeVar("S", bound=SourceManifest)


ReadDocument = Callable[..., Awaitable[SpecDocument]]
"""`read(location, root="")` gives the document at a file path, which is relative to the manifest and stays in its
author's folder, or at an http(s) URL. `root`: a folder that a file must lie below too, links followed. Raises
InvalidInput or Unavailable."""


@dataclass(frozen=True, slots=True)
class SpecPlace:
    """The place of a ToolSet, with the rights that its author has there."""

    origin: Origin
    """The manifest, for messages, and for `changed_places` of a ChangingSpecKind."""
    read: ReadDocument
    tenant: TenantId | None = None
    """The tenant whose secrets `authentication` names; None: the platform's."""
    authentication: Authentication = Authentication()
    """Authentication of the ToolSet's tools; a fetcher may use it at a live server, at that server's origin only."""
    access: UpstreamAccess | None = None
    """Access tokens for that server; None: the authentication is not oauth2, or acts in the name of callers."""
    folder: str | None = None
    """The folder that further files of a description may lie in, as a person named it; None: the folder of the
    document that refers to them."""


class SpecKind(Protocol[S]):
    """Laws: `fetch` is bounded in size and time and gives an equal text for an unchanged description; it may ask a live
    server, whose answer it writes down as text (reflection, introspection), so that conversion is pure. `converter`
    gives a value that can be pickled: it runs in the worker process.
    """

    member: str
    """The key of its member in a ToolSet's `spec`."""
    manifest: type[S]
    """The model of that member."""

    @abstractmethod
    def accepts(self, location: str, text: str | None) -> bool:
        """True for a description of this kind, recognised by its address alone (`text` is None), such as
        `grpc://host:port`, or by the text of the document there. At most one kind accepts a description."""
        ...

    @abstractmethod
    def source_at(self, location: str) -> S:
        """The manifest's part for a description that `accepts` recognised."""
        ...

    @abstractmethod
    async def fetch(self, source: S, place: SpecPlace) -> SpecDocument:
        """The description as text. Raises InvalidInput, or Unavailable when it cannot be reached now, as SpecSource
        does."""
        ...

    @abstractmethod
    def converter(self, source: S) -> SpecConverter:
        """The converter with the options of `source`."""
        ...


@runtime_checkable
class ChangingSpecKind(Protocol):
    """A SpecKind whose live servers say when their description changed, as an MCP server does by list_changed.

    Law: a change after the description was fetched is never missed, also one before `changed_places` was called;
    those of one place may be folded into one.
    """

    @abstractmethod
    def changed_places(self) -> AsyncIterator[Origin]:
        """Yields the origin of each SpecPlace whose description may be another than the last one fetched for it. It is
        fetched again at once, whatever the refresh interval."""
        ...
