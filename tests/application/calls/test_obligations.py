"""What a policy demands besides its decision is seen to, or the call is refused."""

import pytest

from stoa.application import Context, Gateway
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.memory.policy_engine import RulesPolicyEngine
from stoa.domain.access.identity import Principal
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.client_requests.client_request import (
    NO_CAPABILITIES,
    ClientCapabilities,
    ElicitationAnswer,
    RootsAnswer,
)
from stoa.domain.errors import ClientCapabilityMissing, ClientRequestDeclined, ContentUnavailable, QuotaExceeded
from stoa.domain.metering.event import Status
from stoa.domain.policy.decision import Decision, Obligations
from stoa.domain.results.redaction import REDACTED, WITHHELD
from stoa.domain.results.result import ToolResult
from stoa.testing.client_channel import InMemoryClientChannel
from stoa.testing.clock import ManualClock

ANN = Principal.of("ann", tenant="acme", roles=["viewer"])
BOB = Principal.of("bob", tenant="acme", roles=["viewer"])
FORMS = ClientCapabilities(elicitation=True)


class Demanding(RulesPolicyEngine):
    def __init__(self, obligations: Obligations) -> None:
        super().__init__()
        self.obligations = obligations

    async def decide(self, query):
        decision = await super().decide(query)
        return Decision(decision.is_allowed, decision.reason, decision.rules, obligations=self.obligations)


class Arranged:
    def __init__(self, **obligations) -> None:
        self.sink, self.calls = InMemoryMeteringSink(), 0
        policy = Demanding(Obligations(**obligations))
        self.gateway = Gateway(policy=policy, sink=self.sink, clock=ManualClock())

        @self.gateway.tool
        async def person(n: int = 1) -> dict[str, str]:
            self.calls += 1
            return {"name": "Ada", "password": "s3cr3t"}

        @self.gateway.tool
        async def chatty(context: Context) -> dict[str, str]:
            await context.progress(1, 2, "s3cr3t")
            await context.log("error", {"password": "s3cr3t"})
            return {"password": "s3cr3t"}

        @self.gateway.tool
        async def listed() -> list[dict[str, str]]:
            return [{"password": "s3cr3t"}]

        @self.gateway.tool
        async def in_a_text() -> str:
            return '{"password": "s3cr3t"}'

        @self.gateway.tool
        async def wrong() -> ToolResult:
            return ToolResult.error('404 {"password": "s3cr3t"}')

        @self.gateway.prompt
        async def introduce() -> str:
            return "s3cr3t"

        @self.gateway.resource("memo://person")
        async def memo() -> str:
            return "s3cr3t"

    async def call(self, caller=ANN, channel=None):
        return await self.gateway.invoke("person", {}, caller, channel=channel)

    @property
    def statuses(self):
        return [event.status for event in self.sink.events() if event.tool == "person"]


class Confused(InMemoryClientChannel):
    """Looks at nothing of what it passes on."""

    async def ask(self, requests):
        return {key: RootsAnswer(()) for key in requests}


def answering(action, **content):
    return InMemoryClientChannel(FORMS, lambda key, request: ElicitationAnswer(action, content))


async def test_hidden_fields_reach_nobody():
    at = Arranged(redact=("/password",))
    outcome = await at.call()
    assert outcome.result.structured == {"name": "Ada", "password": REDACTED}
    assert "s3cr3t" not in repr(outcome)
    read = await at.gateway.invoke("memo://person", {}, ANN, kind="resource")
    assert isinstance(read.error, ContentUnavailable)


@pytest.mark.parametrize("name", ["listed", "in_a_text", "wrong"])
async def test_redaction_withholds_answers_of_another_shape_than_the_policy_expects(name):
    outcome = await Arranged(redact=("/password",)).gateway.invoke(name, {}, ANN)
    assert outcome.result == ToolResult.error(WITHHELD)
    assert "s3cr3t" not in repr(outcome)


async def test_redaction_withholds_prompts():
    outcome = await Arranged(redact=("/password",)).gateway.invoke("introduce", {}, ANN, kind="prompt")
    assert isinstance(outcome.error, ContentUnavailable)
    assert "s3cr3t" not in repr(outcome)


async def test_redaction_lets_a_tool_tell_numbers_but_no_words():
    channel = InMemoryClientChannel(FORMS, lambda *_: None)
    outcome = await Arranged(redact=("/password",)).gateway.invoke("chatty", {}, ANN, channel=channel)
    assert outcome.result.structured == {"password": REDACTED}
    assert (channel.progressed, channel.logged) == ([(1, 2, None)], [])


async def test_a_further_limit_is_the_callers_for_this_tool():
    at = Arranged(limit=RateLimit(requests_per_minute=1, burst=2))
    outcomes = [await at.call() for _ in range(3)]
    assert [type(outcome.error) for outcome in outcomes] == [type(None), type(None), QuotaExceeded]
    assert outcomes[-1].error is not None
    assert "(policy)" in outcomes[-1].error.message
    assert (await at.call(BOB)).error is None
    assert at.calls == 3


async def test_a_call_is_made_when_the_user_agrees():
    at = Arranged(confirm="Delete it?")
    channel = answering("accept", agree=True)
    outcome = await at.call(channel=channel)
    assert (outcome.error, at.calls, at.statuses) == (None, 1, [Status.SUCCESS])
    (requested,) = channel.requested
    assert [request.message for request in requested.values()] == ["Delete it?"]


@pytest.mark.parametrize(
    "channel",
    [
        answering("accept", agree=False),
        answering("decline"),
        answering("cancel"),
        answering("decline", agree=True),
        answering("cancel", agree=True),
        Confused(FORMS, lambda *_: None),
    ],
    ids=[
        "no",
        "decline",
        "cancel",
        "declines what it agrees to",
        "cancels what it agrees to",
        "answers something else",
    ],
)
async def test_without_agreement_nothing_is_called_and_nothing_charged(channel):
    at = Arranged(confirm="Delete it?")
    outcome = await at.call(channel=channel)
    assert isinstance(outcome.error, ClientRequestDeclined)
    assert (at.calls, outcome.cost, at.statuses) == (0, 0, [Status.ERROR])


@pytest.mark.parametrize("channel", [None, InMemoryClientChannel(NO_CAPABILITIES, lambda *_: None)])
async def test_where_nobody_can_be_asked_the_call_is_refused(channel):
    at = Arranged(confirm="Delete it?")
    outcome = await at.call(channel=channel)
    assert isinstance(outcome.error, ClientCapabilityMissing)
    assert (at.calls, at.statuses) == (0, [Status.INVALID])
