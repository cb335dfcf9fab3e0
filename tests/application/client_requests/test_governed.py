"""Client requests are governed in both eras, whatever the function does with a refusal."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoa.application import Context, Gateway, Outcome, Principal
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.memory.policy_engine import DEFAULT_RULES, Rule, RulesPolicyEngine
from stoa.application.ports import PolicyEngine
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.client_requests.client_request import (
    ClientAnswer,
    ClientCapabilities,
    ClientRequest,
    ElicitationAnswer,
    ElicitationRequest,
    InputRequired,
    ModelPreferences,
    RootsAnswer,
    RootsRequest,
    SamplingAnswer,
    SamplingMessage,
    SamplingRequest,
    SamplingTool,
    UrlElicitationRequest,
    request_facts,
)
from stoa.domain.client_requests.rules import ClientRequestRules, ClientRequests
from stoa.domain.errors import (
    BackendTimedOut,
    ClientCapabilityMissing,
    ClientRequestRefused,
    MeteringUnavailable,
    PolicyUnavailable,
    QuotaExceeded,
    StoaError,
)
from stoa.domain.metering.event import MeteringEvent, Status
from stoa.domain.metering.price_list import PriceList, PriceVersion
from stoa.domain.results.result import TextContent
from stoa.testing.client_channel import InMemoryClientChannel, InMemoryRoundChannel
from stoa.testing.clock import ManualClock
from stoa.testing.invocation_observer import InMemoryInvocationObserver

ANN = Principal.of("ann", tenant="alpha", roles=["viewer"])
ALL = ClientCapabilities(
    sampling=True, sampling_tools=True, sampling_context=True, elicitation=True, elicitation_url=True, roots=True
)
FORM = ElicitationRequest("Who?", {"type": "object", "properties": {"name": {"type": "string"}}})


def sampling(max_tokens: int = 10, *hints: str, **rest: Any) -> SamplingRequest:
    wished = ModelPreferences(hints=hints) if hints else None
    messages = (SamplingMessage("user", TextContent("Hi")),)
    return SamplingRequest(messages=messages, max_tokens=max_tokens, model_preferences=wished, **rest)


def answer_to(key: str, request: ClientRequest) -> ClientAnswer:
    match request:
        case SamplingRequest():
            return SamplingAnswer((TextContent("yes"),), "m")
        case RootsRequest():
            return RootsAnswer(())
        case _:
            return ElicitationAnswer("decline", {})


class Waiting(InMemoryClientChannel):
    """A client of the handshake era."""

    def __init__(self, capabilities: ClientCapabilities = ALL, answering: Any = answer_to) -> None:
        super().__init__(capabilities, answering)

    def sent(self) -> dict[str, ClientRequest]:
        """All that reached the client."""
        return {key: request for requests in self.requested for key, request in requests.items()}

    async def call(self, gateway: Gateway, principal: Principal = ANN, **rest: Any) -> Outcome:
        return await gateway.invoke("ask", {}, principal, channel=self, **rest)


class ByRounds(InMemoryRoundChannel):
    """A client of the stateless era: it calls again with its answers."""

    def __init__(self, capabilities: ClientCapabilities = ALL) -> None:
        super().__init__(capabilities, {})

    def sent(self) -> dict[str, ClientRequest]:
        return {key: request for requests in self.requested for key, request in requests.items()}

    async def call(self, gateway: Gateway, principal: Principal = ANN, **rest: Any) -> Outcome:
        while True:
            outcome = await gateway.invoke("ask", {}, principal, channel=self, **rest)
            if outcome.client_requests is None:
                return outcome
            self.requested.append(dict(outcome.client_requests))
            self.answers |= {key: answer_to(key, request) for key, request in outcome.client_requests.items()}


Client = Waiting | ByRounds
ERAS: dict[str, type[Client]] = {"waiting": Waiting, "rounds": ByRounds}
Plan = list[dict[str, ClientRequest]]


@pytest.fixture(params=list(ERAS))
def era(request: pytest.FixtureRequest) -> type[Client]:
    return ERAS[request.param]


class World:
    """A gateway with one tool, which makes the client requests of the plan and goes on when one is refused."""

    def __init__(self, plan: Plan, *, is_stubborn: bool = True, **parts: Any) -> None:
        self.clock = ManualClock()
        self.sink = InMemoryMeteringSink(parts.pop("capacity", None))
        self.observer = InMemoryInvocationObserver()
        self.refused: list[StoaError] = []
        self.gateway = Gateway(sink=self.sink, clock=self.clock, observers=[self.observer], **parts)

        @self.gateway.tool
        async def ask(context: Context) -> str:
            self.refused.clear()
            for requests in plan:
                try:
                    await context.ask(requests)
                except StoaError as refused:
                    self.refused.append(refused)
                    if not is_stubborn:
                        raise
            return "done"

    def events(self, *, of_calls: bool = False) -> list[MeteringEvent]:
        return [event for event in self.sink.events() if (":" not in event.tool) == of_calls]


plain_requests = st.builds(
    sampling,
    st.integers(1, 10_000),
    st.sampled_from(["claude-x", "Claude-y", "gpt-z"]),
    tools=st.sampled_from([(), (SamplingTool("add", "", {"type": "object"}),)]),
) | st.sampled_from([
    FORM,
    RootsRequest(),
    UrlElicitationRequest("Log in", "https://a.example/", "1"),
    UrlElicitationRequest("Log in", "https://b.example/", "2"),
])  # fmt: skip
plans = st.lists(st.lists(plain_requests, min_size=1, max_size=3), max_size=3).map(
    lambda batches: [
        {f"{number}-{index}": request for index, request in enumerate(batch)} for number, batch in enumerate(batches)
    ]
)
patterns = st.sampled_from([("*",), (), ("claude-*", "a.*")])
tenant_rules = st.builds(
    ClientRequestRules,
    sampling=st.booleans(),
    elicitation=st.booleans(),
    roots=st.booleans(),
    max_tokens=st.none() | st.integers(1, 10_000),
    model_hints=patterns,
    url_hosts=patterns,
)
all_rules = st.builds(
    ClientRequests, default=tenant_rules, tenants=st.dictionaries(st.sampled_from(["alpha", "beta"]), tenant_rules)
)
some_capabilities = st.builds(
    ClientCapabilities,
    sampling=st.booleans(),
    sampling_tools=st.booleans(),
    elicitation=st.booleans(),
    elicitation_url=st.booleans(),
    roots=st.booleans(),
)


def _expected(plan: Plan, rules: ClientRequestRules, can: ClientCapabilities) -> dict[str, int | None]:
    """What may reach the client, with the tokens of each."""
    allowed: dict[str, int | None] = {}
    for batch in plan:
        decisions = {key: rules.judge(request_facts(request)) for key, request in batch.items()}
        if can.missing(batch) or not all(decision.is_allowed for decision in decisions.values()):
            continue
        for key, request in batch.items():
            is_sampling = isinstance(request, SamplingRequest)
            allowed[key] = min(request.max_tokens, rules.max_tokens or 10_000) if is_sampling else None
    return allowed


@given(
    plan=plans,
    rules=all_rules,
    can=some_capabilities | st.just(ALL),
    tenant=st.sampled_from(["alpha", "beta", "gamma", None]),
)
@settings(max_examples=150, deadline=None)
@pytest.mark.parametrize("client_of", ERAS.values(), ids=ERAS)
async def test_client_requests_that_are_declared_and_allowed_are_sent_within_their_cap_and_metered_once(
    client_of: type[Client], plan: Plan, rules: ClientRequests, can: ClientCapabilities, tenant: str | None
) -> None:
    world, client = World(plan, client_requests=rules), client_of(can)
    outcome = await client.call(world.gateway, Principal.of("ann", tenant=tenant, roles=["viewer"]))
    assert outcome.status is Status.SUCCESS
    sent = {key: getattr(request, "max_tokens", None) for key, request in client.sent().items()}
    assert sent == _expected(plan, rules.tenants.get(tenant or "", rules.default), can)  # type: ignore[call-overload]
    assert sum(map(len, client.requested)) == len(sent)
    kinds = sorted(request_facts(request).kind for request in client.sent().values())
    assert sorted(event.tool for event in world.events()) == [f"{kind}:ask" for kind in kinds]
    calls = world.events(of_calls=True)
    assert [event.status for event in calls].count(Status.SUCCESS) == 1
    told = [outcome for _, outcome in world.observer.seen if outcome.event in world.events()]
    assert [outcome.event for outcome in told] == world.events()
    assert all(outcome.client_request == outcome.event.tool.partition(":")[0] for outcome in told)


async def test_client_request_refusal_reaches_the_function_and_observers_but_not_the_client(era: type[Client]) -> None:
    world = World([{"a": sampling()}], client_requests=ClientRequests(default=ClientRequestRules(sampling=False)))
    client = era()
    assert (await client.call(world.gateway)).status is Status.SUCCESS
    (refused,) = world.refused
    assert isinstance(refused, ClientRequestRefused)
    assert refused.message == "The client may not be asked: sampling is switched off"
    assert (client.requested, world.events()) == ([], [])
    (_, request), (_, call) = world.observer.seen
    assert (request.client_request, request.status, request.error) == ("sampling", Status.UNAUTHORIZED, refused)
    assert request.decision is not None
    assert request.decision.rules == ("client-requests.sampling",)
    assert refused.decision is request.decision
    assert (call.client_request, call.status) == (None, Status.SUCCESS)


async def test_client_request_refusal_that_the_function_does_not_handle_is_the_outcome(era: type[Client]) -> None:
    rules = ClientRequests(default=ClientRequestRules(roots=False))
    outcome = await era().call(World([{"a": RootsRequest()}], is_stubborn=False, client_requests=rules).gateway)
    assert isinstance(outcome.error, ClientRequestRefused)
    assert (outcome.status, outcome.event.metadata["error"]) == (Status.ERROR, "question_refused")


async def test_client_requests_are_seen_by_the_policy_which_may_deny_or_cap_them(era: type[Client]) -> None:
    seen: list[Any] = []

    class Strict(RulesPolicyEngine):
        async def decide(self, query: Any) -> Any:
            decision = await super().decide(query)
            if query.client_request is None:
                return decision
            seen.append(query)
            return type(decision)(decision.is_allowed, decision.reason, decision.rules, max_tokens=7)

    no_forms = Rule(
        "no-forms", "deny", lambda query: getattr(query.client_request, "mode", None) == "form", "no forms here"
    )
    world = World([{"a": sampling(5000, "claude")}, {"b": FORM}], policy=Strict([*DEFAULT_RULES, no_forms]))
    client = era()
    await client.call(world.gateway)
    assert {key: getattr(request, "max_tokens", None) for key, request in client.sent().items()} == {"a": 7}
    assert [refused.message for refused in world.refused] == ["The client may not be asked: no forms here"]
    first = seen[0]
    assert (first.principal, first.operation.name, first.door, first.arguments) == (ANN, "ask", "library", {})
    assert (first.client_request.kind, first.client_request.max_tokens, first.client_request.model_hints) == (
        "sampling",
        5000,
        ("claude",),
    )


async def test_client_request_is_not_sent_when_the_policy_cannot_decide(era: type[Client]) -> None:
    class Down(RulesPolicyEngine):
        async def decide(self, query: Any) -> Any:
            if query.client_request is not None:
                raise PolicyUnavailable("down")
            return await super().decide(query)

    policy: PolicyEngine = Down()
    world, client = World([{"a": sampling()}], is_stubborn=False, policy=policy), era()
    assert isinstance((await client.call(world.gateway)).error, PolicyUnavailable)
    assert (client.requested, world.events()) == ([], [])


async def test_client_requests_of_a_tool_are_limited_by_the_minute_for_each_tenant(era: type[Client]) -> None:
    rules = ClientRequests(default=ClientRequestRules(rate_limit=RateLimit(requests_per_minute=60, burst=2)))
    world = World([{"a": sampling()}, {"b": RootsRequest()}], is_stubborn=False, client_requests=rules)
    assert (await era().call(world.gateway)).status is Status.SUCCESS
    client = era()
    refused = await client.call(world.gateway)
    assert isinstance(refused.error, QuotaExceeded)
    assert (refused.error.retry_after_seconds, refused.status) == (1.0, Status.RATE_LIMITED)
    assert client.requested == []
    bob = Principal.of("bob", tenant="beta", roles=["viewer"])
    assert (await era().call(world.gateway, bob)).status is Status.SUCCESS
    world.clock.advance(2)
    assert (await era().call(world.gateway)).status is Status.SUCCESS
    assert len(world.events()) == 6


async def test_client_requests_of_one_call_are_limited(era: type[Client]) -> None:
    plan: Plan = [{str(number): RootsRequest()} for number in range(9)]
    rules = ClientRequests(default=ClientRequestRules(per_call=4))
    client = era()
    outcome = await client.call(World(plan, is_stubborn=False, client_requests=rules).gateway)
    assert isinstance(outcome.error, ClientRequestRefused)
    assert outcome.error.message == "The client may not be asked: one call may ask 4 questions"
    assert len(client.sent()) == 4


async def test_client_request_that_cannot_be_metered_is_not_sent(era: type[Client]) -> None:
    world, client = World([{"a": sampling()}], is_stubborn=False, capacity=1), era()
    outcome = await client.call(world.gateway)
    assert isinstance(outcome.error, MeteringUnavailable)
    assert (client.requested, outcome.client_requests, world.events()) == ([], None, [])
    assert len(world.events(of_calls=True)) == 1


async def test_client_request_uses_the_metering_room_that_was_reserved_for_it() -> None:
    world, client = World([{"a": sampling()}], is_stubborn=False, capacity=2), Waiting()
    assert (await client.call(world.gateway)).status is Status.SUCCESS
    (event,) = world.events()
    assert (event.status, event.metadata["rules"]) == (Status.SUCCESS, "client-requests,scope-grants-access")


async def test_client_answer_whose_event_is_lost_is_withheld() -> None:
    world, client = World([{"a": sampling()}]), Waiting()
    record = world.sink.record

    async def lose(event: MeteringEvent, *, is_reserved: bool = True) -> None:
        if ":" in event.tool:
            raise MeteringUnavailable("disk")
        await record(event, is_reserved=is_reserved)

    world.sink.record = lose  # type: ignore[method-assign]
    assert (await client.call(world.gateway)).status is Status.SUCCESS
    assert [type(refused) for refused in world.refused] == [MeteringUnavailable]
    assert "disk" not in world.refused[0].message


class Failing(Waiting):
    def __init__(self, failure: BaseException) -> None:
        super().__init__()
        self._failure = failure

    async def ask(self, requests: Any) -> Any:
        self.requested.append(dict(requests))
        raise self._failure


@pytest.mark.parametrize(
    ("client", "status"),
    [
        (Waiting(), Status.SUCCESS),
        (Waiting(ALL, lambda key, request: None), Status.ERROR),
        (Failing(BackendTimedOut("late")), Status.TIMEOUT),
        (Failing(RuntimeError("a defect")), Status.ERROR),
    ],
    ids=["answered", "refused", "too late", "broken"],
)
async def test_client_request_event_has_its_status_and_price(client: Waiting, status: Status) -> None:
    world = World([{"a": sampling()}], prices=PriceList(versions=(PriceVersion(per_question=Decimal("0.00025")),)))
    ask = client.ask

    async def slow(requests: Any) -> Any:
        world.clock.advance(1.5)
        return await ask(requests)

    client.ask = slow  # type: ignore[method-assign]
    await client.call(world.gateway, request_id="r-1", consumer="app")
    (event,) = world.events()
    assert event.latency_ms == 1500
    assert (event.tool, event.status, event.cost_units) == ("sampling:ask", status, 250)
    assert (event.request_id, event.consumer, event.user_id, event.tenant) == ("r-1", "app", "ann", "alpha")
    (call,) = world.events(of_calls=True)
    assert (call.request_id, call.cost_units) == ("r-1", 2500)
    assert event.event_id == f"{call.event_id}.1"


async def test_client_request_of_a_cancelled_call_has_an_event_of_its_own() -> None:
    class Silent(Waiting):
        async def ask(self, requests: Any) -> Any:
            self.requested.append(dict(requests))
            world.clock.advance(1.5)
            return await asyncio.get_running_loop().create_future()

    world, client = World([{"a": sampling()}]), Silent()
    calling = asyncio.create_task(client.call(world.gateway))
    while not client.requested:
        await asyncio.sleep(0)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert [(event.tool, event.status, event.latency_ms) for event in world.sink.events()] == [
        ("sampling:ask", Status.CANCELLED, 1500),
        ("ask", Status.CANCELLED, 1500),
    ]


async def test_client_requests_are_withdrawn_and_metered_when_another_one_fails() -> None:
    class Half(Waiting):
        async def ask(self, requests: Any) -> Any:
            if "slow" in requests:
                self.requested.append(dict(requests))
                return await asyncio.get_running_loop().create_future()
            return await super().ask(requests)

    world = World([{"slow": RootsRequest(), "wrong": sampling()}])
    await Half(ALL, lambda key, request: None).call(world.gateway)
    assert sorted((event.tool, event.status) for event in world.events()) == [
        ("roots:ask", Status.CANCELLED),
        ("sampling:ask", Status.ERROR),
    ]


async def test_round_that_a_back_end_ends_itself_is_governed() -> None:
    world = World([], client_requests=ClientRequests(default=ClientRequestRules(roots=False, max_tokens=3)))
    wanted: dict[str, ClientRequest] = {}

    @world.gateway.tool
    async def pause() -> str:
        raise InputRequired(wanted)

    async def paused(client: Client, **requests: ClientRequest) -> Outcome:
        wanted.clear()
        wanted.update(requests)
        return await world.gateway.invoke("pause", {}, ANN, channel=client)

    went = await paused(ByRounds(), a=sampling(50))
    assert went.client_requests == {"a": sampling(3)}
    assert [event.tool for event in world.events()] == ["sampling:pause"]
    for outcome, error in (
        (await paused(ByRounds(), a=RootsRequest()), ClientRequestRefused),
        (await paused(ByRounds(ClientCapabilities()), a=sampling()), ClientCapabilityMissing),
        (await paused(Waiting(), a=sampling()), ClientCapabilityMissing),
    ):
        assert isinstance(outcome.error, error)
        assert outcome.client_requests is None
    assert len(world.events()) == 1


async def test_round_that_a_back_end_ends_itself_counts_its_client_requests() -> None:
    world = World([], client_requests=ClientRequests(default=ClientRequestRules(per_call=2)))
    wanted: dict[str, ClientRequest] = {"a": RootsRequest(), "b": FORM}

    @world.gateway.tool
    async def pause() -> str:
        raise InputRequired(wanted)

    assert (await world.gateway.invoke("pause", {}, ANN, channel=ByRounds())).client_requests == wanted
    wanted["c"] = sampling()
    refused = await world.gateway.invoke("pause", {}, ANN, channel=ByRounds())
    assert isinstance(refused.error, ClientRequestRefused)
    assert (refused.client_requests, refused.status) == (None, Status.ERROR)
    assert [event.tool for event in world.events()] == ["roots:pause", "elicitation:pause"]


async def test_client_request_that_the_function_gives_up_is_not_metered() -> None:
    world, client = World([]), ByRounds()

    @world.gateway.tool
    async def impatient(context: Context) -> str:
        try:
            await context.list_roots()
        except InputRequired:
            return "never mind"
        return "?"

    outcome = await world.gateway.invoke("impatient", {}, ANN, channel=client)
    assert outcome.status is Status.SUCCESS
    assert world.events() == []


async def test_client_requests_of_resources_and_prompts_are_governed() -> None:
    world = World([], client_requests=ClientRequests(default=ClientRequestRules(roots=False)))

    @world.gateway.resource("memo://{topic}")
    async def memo(topic: str, context: Context) -> str:
        return (await context.sample(topic, max_tokens=3)).text

    @world.gateway.prompt
    async def plan(context: Context) -> str:
        return str(await context.list_roots())

    read = await world.gateway.invoke("memo://x", {}, ANN, kind="resource", channel=Waiting())
    assert read.status is Status.SUCCESS
    assert [event.tool for event in world.events()] == ["sampling:resource:memo://{topic}", "resource:memo://{topic}"]
    got = await world.gateway.invoke("plan", {}, ANN, kind="prompt", channel=Waiting())
    assert isinstance(got.error, ClientRequestRefused)
