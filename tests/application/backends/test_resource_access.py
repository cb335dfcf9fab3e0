"""Python functions that read resources, as their caller and through the whole pipeline."""

from collections.abc import Mapping

import pytest

from stoa.application import Context, Gateway, Principal
from stoa.application.backends.resource_access import MAX_DEPTH, NO_RESOURCES
from stoa.application.catalogue.watch_resources import ResourceUpdate
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.ports import CallContext
from stoa.domain.access.caller_limits import CallerLimits
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.errors import BackendUnavailable, NotPermitted, QuotaExceeded, ResourceUnreadable
from stoa.domain.metering.event import Status
from stoa.domain.operations.operation import OperationKey
from stoa.domain.policy.decision import Permit
from stoa.domain.results.result import TextContent, ToolResult

ANN = Principal.of("ann", tenant="alpha", roles=["viewer"])
BOB = Principal.of("bob", tenant="beta", roles=["viewer"])


def _gateway(limits: Mapping[str, RateLimit] | None = None) -> tuple[Gateway, InMemoryMeteringSink]:
    sink = InMemoryMeteringSink()
    gateway = Gateway(sink=sink) if limits is None else Gateway(sink=sink, limits=CallerLimits(roles=limits))

    @gateway.resource("memo://items/{item}", mime_type="text/plain")
    async def item(item: str) -> str:
        return f"item {item}"

    @gateway.resource("memo://alpha", tenant="alpha")
    def of_alpha() -> bytes:
        return b"\x00"

    @gateway.resource("memo://secret", tags=["stoa:admin"])
    def secret() -> str:
        return "for admins"

    @gateway.resource("memo://down")
    def down() -> str:
        raise BackendUnavailable("The back end cannot be reached")

    @gateway.resource("memo://asks")
    async def asks(context: Context) -> str:
        return (await context.elicit("Who?", {"type": "object", "properties": {}})).action

    @gateway.tool
    async def read(context: Context, uri: str) -> str:
        return ", ".join(block.text or block.blob or "" for block in await context.read_resource(uri))

    return gateway, sink


async def test_a_read_is_an_invocation_of_its_own_of_the_same_caller() -> None:
    gateway, sink = _gateway()
    outcome = await gateway.invoke("read", {"uri": "memo://items/a%20b"}, ANN, consumer="crm", request_id="r-1")
    assert outcome.result == ToolResult((TextContent("item a b"),))
    inner, outer = sink.events()
    assert (inner.tool, outer.tool) == ("resource:memo://items/{item}", "read")
    for event in (inner, outer):
        assert (event.status, event.tenant, event.user_id, event.consumer) == (Status.SUCCESS, "alpha", "ann", "crm")
    assert inner.cost_units > 0
    assert inner.event_id != outer.event_id
    assert inner.metadata["door"] == outer.metadata["door"] == "library"


@pytest.mark.parametrize("uri", ["memo://none", "memo://alpha", "memo://down", "memo://asks", "stoa://tools/none"])
async def test_what_gives_nothing_is_an_error_result_of_the_call(uri: str) -> None:
    gateway, sink = _gateway()
    outcome = await gateway.invoke("read", {"uri": uri}, BOB)
    assert outcome.result is not None
    assert outcome.result.is_error
    assert "[resource_unreadable]" in str(outcome.result.content[0])
    assert [event.tool for event in sink.events()][-1] == "read"
    assert len(list(sink.events())) == 2


async def test_what_is_anothers_looks_like_what_is_not_there() -> None:
    gateway, _ = _gateway()
    seen: list[str] = []

    @gateway.tool
    async def try_to_read(context: Context, uri: str) -> str:
        try:
            await context.read_resource(uri)
        except ResourceUnreadable as nothing:
            seen.append(f"{type(nothing.reason).__name__} {nothing.message.replace(uri, 'URI')}")
        return "went on"

    for uri in ("memo://alpha", "memo://none"):
        assert (await gateway.invoke("try_to_read", {"uri": uri}, BOB)).status is Status.SUCCESS
    assert seen == ["ResourceNotFound Unknown resource: URI"] * 2


async def test_what_the_caller_may_not_read_is_refused_so_that_it_can_ask_for_the_scope() -> None:
    limited = Principal.of("root", tenant="alpha", roles=["cpi-admin"], token_scopes=["stoa:read"])
    for caller, missing in ((limited, {"stoa:admin"}), (ANN, set())):
        gateway, sink = _gateway()
        outcome = await gateway.invoke("read", {"uri": "memo://secret"}, caller)
        assert isinstance(outcome.error, NotPermitted)
        assert outcome.error.decision.missing_scopes == missing
        assert [event.status for event in sink.events()] == [Status.UNAUTHORIZED] * 2


async def test_reads_count_against_the_callers_limit() -> None:
    gateway, sink = _gateway({"viewer": RateLimit(requests_per_minute=1, burst=3)})
    assert (await gateway.invoke("read", {"uri": "memo://items/a"}, ANN)).status is Status.SUCCESS
    outcome = await gateway.invoke("read", {"uri": "memo://items/a"}, ANN)
    assert isinstance(outcome.error, QuotaExceeded)
    assert [event.status for event in sink.events()][2:] == [Status.RATE_LIMITED] * 2


async def test_resources_that_read_each_other_come_to_an_end() -> None:
    gateway, sink = _gateway()

    @gateway.resource("loop://{n}")
    async def loop(context: Context, n: int) -> str:
        (block,) = await context.read_resource(f"loop://{n + 1}")
        return block.text or ""

    outcome = await gateway.invoke("read", {"uri": "loop://0"}, ANN)
    assert outcome.result is not None
    assert outcome.result.is_error
    assert f"nested {MAX_DEPTH} deep" in str(outcome.result.content[0])
    assert len(list(sink.events())) == MAX_DEPTH + 1


async def test_a_loop_through_tools_comes_to_an_end_too_and_leaves_later_reads_alone() -> None:
    gateway, sink = _gateway()

    @gateway.resource("loop://tool")
    async def through_a_tool() -> str:
        outcome = await gateway.invoke("read", {"uri": "loop://tool"}, ANN)
        return "error" if outcome.result is None or outcome.result.is_error else str(outcome.result.content[0])

    outcome = await gateway.invoke("read", {"uri": "loop://tool"}, ANN)
    assert "error" in str(outcome.result)
    assert len(list(sink.events())) == 2 * MAX_DEPTH + 1
    assert (await gateway.invoke("read", {"uri": "memo://items/a"}, BOB)).status is Status.SUCCESS


async def test_a_function_says_that_a_resource_changed_to_its_own_tenant_and_nothing_of_what_is_not_there() -> None:
    gateway, sink = _gateway()
    told: list[ResourceUpdate] = []
    gateway.watch_resources.subscribe(told.append)

    @gateway.tool
    async def change(context: Context, uri: str) -> str:
        context.resource_updated(uri)
        return "told"

    for caller, uri in ((ANN, "memo://alpha"), (BOB, "memo://items/a"), (BOB, "memo://alpha"), (ANN, "memo://none")):
        await gateway.invoke("change", {"uri": uri}, caller)
    of_change = [update for update in told if update.is_announced]
    assert [(update.uri, update.audience) for update in of_change] == [
        ("memo://alpha", "alpha"),
        ("memo://items/a", "beta"),
    ]
    done, failed = Status.SUCCESS, Status.ERROR
    assert [event.status for event in sink.events()] == [done, done, failed, failed]


async def test_a_function_outside_of_a_gateway_has_no_resources() -> None:
    call = CallContext(Permit(OperationKey(None, "f", "tool"), ()), ANN, "r-1", None, "library", "app")
    with pytest.raises(ResourceUnreadable):
        await NO_RESOURCES.read("memo://x", call)
    with pytest.raises(ResourceUnreadable):
        NO_RESOURCES.updated("memo://x", call)
