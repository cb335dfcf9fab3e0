"""Calls the service behind a tool, a resource or a prompt."""

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from stoa.application.ports.client_channel import ClientChannel, GovernedClientRequests
from stoa.application.ports.invocation_observer import Span
from stoa.application.ports.manifest_parts import BindingManifest
from stoa.application.ports.upstream_access import UpstreamAccess
from stoa.domain.access.identity import Principal
from stoa.domain.calls.trace_context import TraceContext
from stoa.domain.operations.operation import Operation
from stoa.domain.policy.decision import Door, Permit
from stoa.domain.results.result import EmbeddedResource, RawAnswer, ToolResult
from stoa.domain.schema.json_value import JsonObject


@dataclass(slots=True)
class CallContext:
    """Facts of the call for the back end, in addition to its arguments. The caller's token is not among them."""

    permit: Permit
    principal: Principal
    request_id: str
    channel: ClientChannel | None = None
    """One-way messages to the client; None: the call's door has no way back."""
    door: Door = "library"
    consumer: str = "unknown"
    upstream: UpstreamAccess | None = None
    """The source of access tokens for the back end; None: its authentication is not oauth2."""
    client_requests: GovernedClientRequests | None = None
    """Client requests; None: the client takes none."""
    trace: TraceContext | None = None
    """The trace context to send to the back end; None: none is sent."""
    span: Span | None = None
    """The span of the call to the back end, as parent of the back end's own spans; None: nothing is traced."""


class BackendCall(Protocol):
    """A prepared operation: all work that does not depend on the arguments has been done.

    Laws: the arguments are valid by the tool's input schema, and the context holds a permit for this operation
    (`CompiledOperation.call` sees to it); cancelling the call releases its connection. Every answer of the back end,
    also an error, is a value. Raises BackendUnavailable, BackendTimedOut, BackendProtocolError, or InvalidArguments
    when a value cannot be sent as the binding demands; lets exceptions of the client channel pass. The caller enforces
    the deadline.
    """

    @abstractmethod
    async def __call__(self, arguments: JsonObject, context: CallContext) -> RawAnswer | ToolResult: ...


@runtime_checkable
class Previewable(Protocol):
    """A BackendCall that sends a request. Law: `preview` shows the request without anything secret."""

    @abstractmethod
    def preview(self, arguments: JsonObject) -> JsonObject:
        """The request that a call with these arguments would send, to be shown to people; nothing is sent. Raises
        InvalidArguments."""
        ...


@runtime_checkable
class Completing(Protocol):
    """A BackendCall whose back end proposes values for arguments (MCP "Completion"). Law: nothing is changed by it."""

    @abstractmethod
    async def complete(
        self,
        argument: str,
        value: str,
        arguments: Mapping[str, str],
        caller: Principal,
        upstream: UpstreamAccess | None,
    ) -> Sequence[str]:
        """Values for the argument, of which `value` is typed so far; `arguments`: the others, as far as they are set.
        `upstream`: as of CallContext. Raises as a call does."""
        ...


@runtime_checkable
class Announcing(Protocol):
    """A BackendCall of a resource whose back end tells when contents changed (MCP "Resources", Subscriptions). Law:
    nothing is changed by it."""

    @abstractmethod
    async def follow(
        self, arguments: JsonObject, caller: Principal, upstream: UpstreamAccess | None, changed: Callable[[], None]
    ) -> None:
        """Call `changed` after each change of the contents that a call with these arguments reads, until cancelled.
        Returns if the back end tells of none. Raises as a call does."""
        ...


class ToolBackend(Protocol):
    """One kind of back end: everything with the same binding `kind`."""

    kind: str

    @abstractmethod
    def prepare(self, tool: Operation) -> BackendCall:
        """Compile the binding, once, at registration. Raises InvalidInput when it cannot work."""
        ...

    @abstractmethod
    async def close(self) -> None:
        """Release connections; no call is made afterwards."""
        ...


@runtime_checkable
class ReadingResources(Protocol):
    """A ToolBackend whose arguments may name resources of the gateway, `stoa://...`, in the place of their content.
    Law: a resource is read as the caller, with the reader that the Gateway gave before any operation is prepared."""

    @abstractmethod
    def read_with(self, read: Callable[[str, CallContext], Awaitable[tuple[EmbeddedResource, ...]]]) -> None:
        """`read`: the contents of a resource as the caller of the call may read them. Raises what reading it raises."""
        ...


@runtime_checkable
class NamedByManifests(Protocol):
    """A ToolBackend whose bindings are written in manifests of the kind Tool. Law: the bindings that `manifest` makes
    are of the back end's kind."""

    @abstractmethod
    def manifest(self) -> type[BindingManifest]:
        """Model of the member of `spec` that describes a binding."""
        ...
