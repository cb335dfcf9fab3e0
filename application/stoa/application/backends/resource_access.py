"""Access of a Python function to resources during a call: reads them as its caller, and announces changes."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from stoa.application.ports.tool_backend import CallContext
from stoa.domain.access.identity import TenantId
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.errors import (
    ClientCapabilityMissing,
    ContentUnavailable,
    InvalidInput,
    ResourceNotFound,
    ResourceUnreadable,
)
from stoa.domain.results.result import EmbeddedResource

MAX_DEPTH = 4
"""Upper bound on nested reads: a resource that reads itself, directly or through others, must come to an end."""

_depth: ContextVar[int] = ContextVar("stoa_read_depth", default=0)


class ResourceAccess:
    """Reads and announces resources. `invoke`: the pipeline. `announce`: see `Gateway.resource_updated`."""

    def __init__(
        self,
        invoke: Callable[[Invocation], Awaitable[Outcome]],
        announce: Callable[[str, TenantId | None], None],
    ) -> None:
        self._invoke = invoke
        self._announce = announce

    async def read(self, uri: str, call: CallContext) -> tuple[EmbeddedResource, ...]:
        """An invocation of its own, of the same caller through the same door: authorised, limited and metered. It has
        no way to the client. Raises ResourceUnreadable when there is nothing to read, and NotPermitted,
        QuotaExceeded or Unavailable like any call."""
        depth = _depth.get()
        if depth >= MAX_DEPTH:
            raise ResourceUnreadable(InvalidInput(f"Reads may be nested {MAX_DEPTH} deep"))
        entered = _depth.set(depth + 1)
        try:
            outcome = await self._invoke(
                Invocation(
                    credential=call.principal,
                    name=uri,
                    arguments={},
                    door=call.door,
                    request_id=call.request_id,
                    consumer=call.consumer,
                    kind="resource",
                    trace=call.trace,
                )
            )
        finally:
            _depth.reset(entered)
        try:
            content = outcome.content().content
        except (ResourceNotFound, ContentUnavailable, ClientCapabilityMissing) as nothing:
            raise ResourceUnreadable(nothing) from nothing
        return tuple(block for block in content if isinstance(block, EmbeddedResource))

    def updated(self, uri: str, call: CallContext) -> None:
        """Announce a change as `Gateway.resource_updated` does, for the caller's tenant only: a call must not be
        visible to other tenants."""
        try:
            self._announce(uri, call.principal.tenant)
        except ResourceNotFound as unknown:
            raise ResourceUnreadable(unknown) from unknown


async def _nothing_to_read(invocation: Invocation) -> Outcome:
    raise ResourceUnreadable(ResourceNotFound(invocation.name))


def _nothing_to_tell(uri: str, _: TenantId | None) -> None:
    raise ResourceNotFound(uri)


NO_RESOURCES = ResourceAccess(_nothing_to_read, _nothing_to_tell)
"""Access for functions outside of a Gateway: has no resources."""
