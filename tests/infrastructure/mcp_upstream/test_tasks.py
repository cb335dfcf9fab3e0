"""Calls that an upstream answers with a task: the gateway's call becomes one too."""

import asyncio
from datetime import UTC, datetime

import pytest
from tests.infrastructure.mcp_upstream.peers import ADMIN, ALL, gateway_with, message, result, tool_set
from tests.infrastructure.rest.loopback import loopback

from stoa.application.ports import CallContext
from stoa.application.tasks.task_channel import TaskChannel
from stoa.application.tasks.task_record import dump, load
from stoa.domain.calls.task import GivenAnswers, Task, Work
from stoa.domain.client_requests.client_request import ElicitationAnswer, InputRequired
from stoa.domain.policy.decision import Permit
from stoa.domain.results.result import TextContent
from stoa.testing.client_channel import InMemoryRoundChannel

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXTENSION = "io.modelcontextprotocol/tasks"
FORM = {"message": "Sure?", "requestedSchema": {"type": "object", "properties": {"ok": {"type": "boolean"}}}}


class Upstream:
    """Answers each call with a task, whose states are `states`, one for each look at it."""

    def __init__(self, *states):
        self.states = [*states]
        self.updates = []
        self.cancelled = asyncio.Event()
        self.created = 0
        self.declared = []

    def __call__(self, seen):
        said = message(seen)
        params = said.get("params", {})
        match said.get("method"):
            case "server/discover":
                capabilities = {"tools": {}, "extensions": {EXTENSION: {}}}
                return result(seen, supportedVersions=["2026-07-28"], capabilities=capabilities)
            case "tools/list":
                return result(seen, tools=[{"name": "work", "inputSchema": {"type": "object"}}])
            case "tools/call":
                self.created += 1
                self.declared.append(params["_meta"]["io.modelcontextprotocol/clientCapabilities"].get("extensions"))
                return result(seen, resultType="task", taskId="t-1", status="working", ttlMs=1000, pollIntervalMs=1)
            case "tasks/get":
                assert seen.header("mcp-name") == params["taskId"] == "t-1"
                state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
                return result(seen, resultType="complete", taskId="t-1", pollIntervalMs=1, **state)
            case "tasks/update":
                self.updates.append(params["inputResponses"])
                return result(seen, resultType="complete")
            case "tasks/cancel":
                self.cancelled.set()
                return result(seen, resultType="complete")


class Client(InMemoryRoundChannel):
    async def send(self, requests):
        answers = await self.collect(requests)
        if missing := {key: request for key, request in requests.items() if key not in answers}:
            raise InputRequired(missing)
        return answers


def context_of(gateway, channel, answers=None, memo=None):
    began = asyncio.Event()

    async def begin():
        began.set()
        return True

    client = Client(ALL, answers or {})
    task = TaskChannel(client, begin, lambda request, answer: None)
    if answers is not None:
        task.continue_as_task(GivenAnswers({}, {}, memo))
    tool = gateway.registry.find(None, "work")
    given = CallContext(Permit(tool.operation.key, ()), ADMIN, "request-1", task if channel else None)
    given.client_requests = client
    return tool, given, began


async def test_task_of_the_upstream_is_followed_to_its_end():
    content = [{"type": "text", "text": "done"}]
    upstream = Upstream(
        {"status": "working", "statusMessage": "half"}, {"status": "completed", "result": {"content": content}}
    )
    async with loopback(upstream) as server, gateway_with(tool_set(url=f"{server.url}/mcp")) as gateway:
        tool, context, began = context_of(gateway, True)
        answer = await tool.call({}, context)
        assert answer.content == (TextContent("done"),)
        assert began.is_set()
        assert upstream.declared == [{EXTENSION: {}}]


async def test_task_is_not_offered_for_a_client_that_has_none():
    upstream = Upstream({"status": "working"})
    async with loopback(upstream) as server, gateway_with(tool_set(url=f"{server.url}/mcp")) as gateway:
        tool, context, _ = context_of(gateway, False)
        with pytest.raises(Exception, match=r"its answer is no result of tools/call"):
            await tool.call({}, context)
        assert upstream.declared == [None]


async def test_task_that_failed_is_an_error_result():
    upstream = Upstream({"status": "failed", "error": {"code": -32603, "message": "broken"}})
    async with loopback(upstream) as server, gateway_with(tool_set(url=f"{server.url}/mcp")) as gateway:
        tool, context, _ = context_of(gateway, True)
        answer = await tool.call({}, context)
        assert answer.is_error
        assert answer.content == (TextContent("broken [-32603]"),)


async def test_task_that_asks_goes_on_in_the_run_that_brings_the_answer():
    asking = {"status": "input_required", "inputRequests": {"sure": {"method": "elicitation/create", "params": FORM}}}
    done = {"status": "completed", "result": {"content": []}}
    upstream = Upstream(asking)
    async with loopback(upstream) as server, gateway_with(tool_set(url=f"{server.url}/mcp")) as gateway:
        tool, context, _ = context_of(gateway, True)
        with pytest.raises(InputRequired) as required:
            await tool.call({}, context)
        assert required.value.requests["sure"].message == "Sure?"
        upstream.states = [asking, done]
    # The next run is in another process: all that it knows is what the stored task remembers.
    waiting = Task.begin(Work(tool="work", arguments={}), ADMIN, NOW, 10).requiring_input(
        {"sure": {}}, NOW, memo=context.channel.memo
    )
    memo = load(dump(waiting)).memo
    async with loopback(upstream) as server, gateway_with(tool_set(url=f"{server.url}/mcp")) as gateway:
        tool, context, _ = context_of(gateway, True, {"sure": ElicitationAnswer("accept", {"ok": True})}, memo)
        await tool.call({}, context)
        assert upstream.updates == [{"sure": {"action": "accept", "content": {"ok": True}}}]
        assert upstream.created == 1


async def test_task_is_cancelled_with_its_call():
    upstream = Upstream({"status": "working"})
    async with loopback(upstream) as server, gateway_with(tool_set(url=f"{server.url}/mcp")) as gateway:
        tool, context, began = context_of(gateway, True)
        calling = asyncio.create_task(tool.call({}, context))
        async with asyncio.timeout(10):
            await began.wait()
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
            await upstream.cancelled.wait()
