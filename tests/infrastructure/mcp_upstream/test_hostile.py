"""Upstreams that die, lie, send too much or ask for what they may not: one clear error, and other calls go on."""

import asyncio
import logging
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.infrastructure.mcp_upstream.peers import (
    ADMIN,
    ALL,
    BOB,
    OFFICIAL_PROGRAM,
    call,
    events,
    fault,
    gateway_with,
    handshake,
    message,
    result,
    text_of,
    tool_set,
)
from tests.infrastructure.rest.loopback import answer, loopback

from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.domain.client_requests.client_request import Root, RootsAnswer
from stoa.domain.errors import InvalidInput
from stoa.domain.metering.event import Status
from stoa.infrastructure.http_client import PUBLIC_ONLY
from stoa.infrastructure.mcp_upstream.stdio import MAX_LOG_LINES_PER_SECOND
from stoa.testing.client_channel import InMemoryClientChannel
from stoa.testing.clock import ManualClock

HOSTILE = str(Path(__file__).with_name("hostile_program.py"))


def program(how, **more):
    return tool_set(command=sys.executable, args=[HOSTILE, how], protocolVersion="2025-11-25", **more)


def roots(key, request):
    return RootsAnswer((Root("file:///work"),))


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("dies", "its program ended (exit code 7) [backend_unavailable]"),
        ("huge", "it sent a message of more than 8388608 bytes [backend_protocol_error]"),
        ("stranger", "its result has no content [backend_protocol_error]"),
    ],
)
async def test_program_that_misbehaves_gives_one_clear_error_and_is_started_again(how, text):
    async with gateway_with(program(how)) as gateway:
        bad, good = await asyncio.gather(call(gateway, "bad"), call(gateway, "good", BOB))
        assert bad.status is Status.ERROR
        assert text_of(bad) == f"The back end of {sys.executable} failed: {text}".replace(
            f"{sys.executable} failed: its result", "global/bad failed: its result"
        )
        assert text_of(good) == "good"
        assert text_of(await call(gateway, "good")) == "good"


async def test_program_that_floods_is_ended_and_others_are_called_on():
    async with gateway_with(program("floods")) as gateway:
        bad = asyncio.create_task(call(gateway, "bad", channel=None))
        for _ in range(20):
            assert text_of(await call(gateway, "good", BOB)) == "good"
        outcome = await bad
        assert outcome.status is Status.ERROR
        assert "it floods the gateway with messages [backend_protocol_error]" in text_of(outcome)


async def test_program_that_writes_empty_lines_without_end_is_ended():
    async with gateway_with(program("blank")) as gateway:
        outcome = await call(gateway, "bad")
        assert outcome.status is Status.ERROR
        assert "it floods the gateway with messages [backend_protocol_error]" in text_of(outcome)


async def test_program_that_prints_much_that_is_no_message_is_logged_within_bounds(caplog):
    caplog.set_level(logging.INFO)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with gateway_with(program("chatter")) as gateway:
        assert text_of(await call(gateway, "bad")) == "well"
    logged = [record for record in caplog.records if "this is no message" in record.getMessage()]
    assert 0 < len(logged) <= MAX_LOG_LINES_PER_SECOND * (loop.time() - began + 2)


async def test_lines_that_are_no_messages_are_skipped():
    async with gateway_with(program("noise")) as gateway:
        assert text_of(await call(gateway, "bad")) == "well"


async def test_program_that_asks_too_much_ends_its_call():
    channel = InMemoryClientChannel(ALL, roots)
    async with gateway_with(program("asks")) as gateway:
        outcome = await call(gateway, "bad", channel=channel)
        assert outcome.status is Status.ERROR
        assert len(channel.requested) <= 32


async def test_program_that_dies_again_and_again_is_started_more_and_more_seldom():
    clock = ManualClock()
    async with gateway_with(program("dies"), clock=clock) as gateway:
        for _ in range(2):
            assert "its program ended" in text_of(await call(gateway, "bad"))
        refused = await call(gateway, "good")
        assert "it failed 2 times in a row, and is tried again in 1 s [backend_unavailable]" in text_of(refused)
        assert text_of(await call(gateway, "good", BOB)) == "good"
        clock.advance(2)
        assert text_of(await call(gateway, "good")) == "good"


async def test_program_gets_its_own_environment_and_no_other(caplog):
    manifest = tool_set(**OFFICIAL_PROGRAM, env={"MODE": "a"}, envSecretRefs={"TOKEN": {"name": "api", "key": "token"}})
    secrets = {"api": {"token": "tok-123"}}
    environment = {"PATH": os.environ["PATH"], "GATEWAY_SECRET": "never"}
    caplog.set_level(logging.INFO)
    async with gateway_with(manifest, secrets=secrets, environment=environment) as gateway:
        for name, value in {"MODE": "a", "TOKEN": "tok-123", "GATEWAY_SECRET": "(none)"}.items():
            assert text_of(await call(gateway, "variable", name=name)) == value
    assert f"upstream MCP server {sys.executable}: started [secret]" in caplog.text
    assert "tok-123" not in caplog.text


async def test_program_ends_with_the_gateway():
    async with gateway_with(tool_set(**OFFICIAL_PROGRAM)) as gateway:
        pid = int(text_of(await call(gateway, "process")))
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can limit another process")
async def test_program_is_limited():
    limits = {"memoryMebibytes": 700, "openFiles": 99}
    async with gateway_with(tool_set(**OFFICIAL_PROGRAM, limits=limits)) as gateway:
        pid = int(text_of(await call(gateway, "process")))
        told = Path(f"/proc/{pid}/limits").read_text()
        assert [line.split()[-3:-1] for line in told.splitlines() if line.startswith("Max data size")] == [
            [str(700 * 1024 * 1024)] * 2
        ]
        assert [line.split()[-3:-1] for line in told.splitlines() if line.startswith("Max open files")] == [
            ["99", "99"]
        ]


async def test_program_that_is_not_there_is_told():
    with pytest.raises(InvalidInput, match="No such file or directory"):
        async with gateway_with(tool_set(command="/no/such/program")):
            pass


def served(told):
    """A server of the handshake era whose calls are answered by `told`."""

    def answered(seen):
        known = handshake(seen)
        return told(seen) if known is None else known

    return answered


BIG = b"x" * (9 * 1024 * 1024)


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (lambda seen: None, "lost before its answer; the call may have taken effect [backend_unavailable]"),
        (lambda seen: answer(b"<html>", media_type="text/html"), "answered 200 without a JSON-RPC message"),
        (lambda seen: answer(b"no", status="503 Busy"), "it answered 503 [backend_unavailable]"),
        (lambda seen: answer(b"no", status="401 No"), "does not accept the gateway's credential (401)"),
        (lambda seen: answer(b"", status="302 Found", more="Location: http://x/\r\n"), "it redirects"),
        (lambda seen: answer(b"{"), "it sent what is no JSON-RPC message [backend_protocol_error]"),
        (lambda seen: answer(b'{"jsonrpc":"2.0","id":99,"result":{}}'), "its answer is to another request"),
        (lambda seen: answer(BIG), "answered more than 8388608 bytes [backend_protocol_error]"),
        (lambda seen: events(BIG), "answered more than 8388608 bytes [backend_protocol_error]"),
        (lambda seen: events(b"{]"), "it sent what is no JSON-RPC message"),
        (lambda seen: events(), "its stream ended before the response [backend_unavailable]"),
        (lambda seen: result(seen, wrong=1), "its result has no content [backend_protocol_error]"),
        (lambda seen: fault(seen, -32603, "bro\x1bken"), "broken [-32603]"),
    ],
    ids=range(13),
)
async def test_server_that_breaks_the_protocol_gives_one_clear_error(told, text):
    async with loopback(served(told)) as server, gateway_with(tool_set(url=f"{server.url}/mcp")) as gateway:
        outcome = await call(gateway, "echo")
        assert outcome.status is Status.ERROR
        assert outcome.result.is_error
        assert text in text_of(outcome)


async def test_call_that_no_server_received_is_free():
    sink = InMemoryMeteringSink()
    async with AsyncExitStack() as server_stack:
        server = await server_stack.enter_async_context(loopback(served(lambda seen: result(seen, content=[]))))
        async with gateway_with(tool_set(url=f"{server.url}/mcp"), sink=sink) as gateway:
            assert (await call(gateway, "echo")).status is Status.SUCCESS
            await server_stack.aclose()
            for principal in (ADMIN, BOB):  # one has a session, the other needs one
                outcome = await call(gateway, "echo", principal)
                assert "nothing listens at its address" in text_of(outcome)
            lost = await server_stack.enter_async_context(loopback(served(lambda seen: None)))
            await gateway.add_manifest({**tool_set("lost_", url=f"{lost.url}/mcp"), "metadata": {"name": "lost"}})
            await call(gateway, "lost_echo")
    assert [event.cost_units > 0 for event in sink.events()] == [True, False, False, True]


async def test_content_that_is_none_is_told_and_not_passed_on():
    blocks = [
        {"type": "image", "data": "no base64!", "mimeType": "image/png"},
        {"type": "hologram", "data": 1},
        {"type": "resource_link", "uri": "file:///a", "name": "a"},
        7,
        {"type": "text", "text": "y" * 300_000},
    ]
    server_of_blocks = loopback(served(lambda seen: result(seen, content=blocks)))
    async with server_of_blocks as server, gateway_with(tool_set("p_", url=f"{server.url}/mcp")) as gateway:
        given = (await call(gateway, "p_echo")).result.content
    assert given[0].text == "[image/png that is no base64, not shown]"
    assert given[1].text == "[content of type 'hologram' that this gateway cannot show]"
    assert given[2].uri == "p+file:///a"
    assert given[4].text.endswith("[truncated: 300000 characters, 262144 shown]")


async def test_answer_that_violates_the_declared_schema_reaches_the_caller():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}

    def told(seen):
        if message(seen).get("method") == "tools/list":
            return result(seen, tools=[{"name": "lie", "inputSchema": {"type": "object"}, "outputSchema": schema}])
        known = handshake(seen)
        return (
            result(seen, content=[{"type": "text", "text": "{}"}], structuredContent={"n": "x"})
            if known is None
            else known
        )

    async with loopback(told) as server, gateway_with(tool_set(url=f"{server.url}/mcp")) as gateway:
        outcome = await call(gateway, "lie")
        assert outcome.status is Status.SUCCESS
        assert outcome.result.omitted


async def test_stream_that_breaks_off_is_resumed_where_it_ended():
    seen_positions = []

    def answered(seen):
        if seen.method == "GET":
            seen_positions.append(seen.header("last-event-id"))
            number = len(seen_positions)
            if number == 1:
                return events({"jsonrpc": "2.0", "method": "notifications/message", "params": {}}, first_id=8)
            return events({"jsonrpc": "2.0", "id": call_id[0], "result": {"content": []}}, first_id=9)
        known = handshake(seen, session="s-1")
        if known is not None:
            return known
        call_id.append(message(seen)["id"])
        return events(b"", first_id=7, retry=1)

    call_id: list[int] = []
    async with loopback(answered) as server, gateway_with(tool_set(url=f"{server.url}/mcp")) as gateway:
        assert (await call(gateway, "echo")).status is Status.SUCCESS
        assert seen_positions == ["7", "8"]
        assert {seen.header("mcp-session-id") for seen in server.seen[-3:]} == {"s-1"}


async def test_session_that_the_server_has_lost_is_begun_anew():
    sessions = iter(["s-1", "s-2", "s-3"])

    def answered(seen):
        known = handshake(seen, session=next(sessions) if message(seen).get("method") == "initialize" else None)
        if known is not None:
            return known
        if seen.header("mcp-session-id") == "s-2":
            return answer(b'{"jsonrpc":"2.0","error":{"code":-32600,"message":"gone"}}', status="404 Not Found")
        return result(seen, content=[{"type": "text", "text": seen.header("mcp-session-id")}])

    async with loopback(answered) as server, gateway_with(tool_set(url=f"{server.url}/mcp")) as gateway:
        assert text_of(await call(gateway, "echo")) == "s-3"


async def test_credential_goes_to_the_server_and_the_callers_token_does_not():
    manifest = {"type": "bearer", "secretRef": {"name": "api"}}
    async with loopback(served(lambda seen: result(seen, content=[]))) as server:
        content = tool_set(url=f"{server.url}/mcp", headers={"X-Team": "a"})
        content["spec"]["toolDefaults"] = {"authentication": manifest}
        async with gateway_with(content, secrets={"api": {"token": "tok-1"}}) as gateway:
            assert (await call(gateway, "echo")).status is Status.SUCCESS
        assert {(seen.header("authorization"), seen.header("x-team")) for seen in server.seen} == {
            ("Bearer tok-1", "a")
        }


async def test_address_that_may_not_be_called_is_refused():
    async with loopback(served(lambda seen: result(seen, content=[]))) as server:
        with pytest.raises(InvalidInput, match="network that the gateway may not call"):
            async with gateway_with(tool_set(url=f"{server.url}/mcp"), rules=PUBLIC_ONLY):
                pass
        assert server.connections == 0


async def test_stateless_request_carries_headers_that_repeat_its_body():
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}

    def answered(seen):
        match message(seen).get("method"):
            case "server/discover":
                return result(seen, supportedVersions=["2026-07-28"], capabilities={"tools": {}}, resultType="complete")
            case "tools/list":
                return result(seen, tools=[{"name": "größe", "inputSchema": schema}])
            case _:
                return result(seen, content=[], resultType="complete")

    async with loopback(answered) as server, gateway_with(tool_set(url=f"{server.url}/mcp")) as gateway:
        (name,) = [key.name for key in gateway.registry.catalogue.operations if key.kind == "tool"]
        assert (await call(gateway, name, region="nörd")).status is Status.SUCCESS
        sent = server.seen[-1]
        assert sent.header("mcp-protocol-version") == "2026-07-28"
        assert sent.header("mcp-method") == "tools/call"
        assert sent.header("mcp-name") == "=?base64?Z3LDtsOfZQ==?="
        assert sent.header("mcp-param-region") == "=?base64?bsO2cmQ=?="
        assert message(sent)["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] == {}
