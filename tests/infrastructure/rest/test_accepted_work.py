"""Work that a back end has only accepted (202): in a task its state is asked for until it is done."""

from collections.abc import Callable

import pytest
from tests.infrastructure.rest.loopback import Seen, answer, context_of, loopback, rest_tool

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.access.identity import TenantId
from stoa.domain.client_requests.client_request import ClientCapabilities
from stoa.domain.errors import BackendProtocolError, QuotaExceeded, StoaError
from stoa.domain.operations.tool import Tool
from stoa.domain.results.result import RawAnswer, shape
from stoa.infrastructure.rest import RestBackend
from stoa.testing.client_channel import InMemoryClientChannel


class Waiting(InMemoryClientChannel):
    """A client that waits in a task, or is refused one."""

    def __init__(self, *, waits: bool = True, refusal: StoaError | None = None) -> None:
        super().__init__(ClientCapabilities(), lambda _, __: None)
        self.waits = waits
        self.refusal = refusal

    async def begin_task(self) -> bool:
        if self.refusal is not None:
            raise self.refusal
        return self.waits


def accepted(location: str = "/v1/jobs/7", *, more: str = "", body: bytes = b"") -> bytes:
    return answer(body, status="202 Accepted", more=f"Location: {location}\r\n{more}")


class Scripted:
    """Answers in order; the last one again and again."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)

    def __call__(self, _: Seen) -> bytes:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Called:
    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.seen: list[Seen] = []
        self.channel: InMemoryClientChannel | None = Waiting()

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def call(
        self, script: Callable[[Seen], bytes], credentials: InMemoryCredentialSource | None = None, **tool: object
    ) -> RawAnswer:
        async with loopback(script) as server:
            backend = RestBackend(credentials or InMemoryCredentialSource(), pause=self.pause)
            try:
                made: Tool = rest_tool(f"{server.url}/v1", method="POST", tool=tool)
                context = context_of(made)
                context.channel = self.channel
                given = await backend.prepare(made)({}, context)
            finally:
                await backend.close()
                self.seen = server.seen
        assert isinstance(given, RawAnswer)
        return given


async def test_accepted_work_is_asked_for_until_it_is_done():
    called = Called()
    running = answer(b'{"status":"in progress"}', status="202 Accepted")

    given = await called.call(Scripted(accepted(), running, running, answer(b'{"total":3}')))

    assert shape(given).structured == {"total": 3}
    assert [(seen.method, seen.target) for seen in called.seen] == [("POST", "/v1/pets")] + [("GET", "/v1/jobs/7")] * 3
    assert called.pauses == [1.0, 1.5, 2.25]
    assert isinstance(called.channel, Waiting)
    assert [report[2] for report in called.channel.progressed] == ["202 Accepted", "inprogress", "inprogress"]


@pytest.mark.parametrize("state", [b'{"status":"Running"}', b'{"state":"NOT_STARTED"}', b'{"done":false,"name":"x"}'])
async def test_accepted_work_goes_on_while_its_state_says_so(state: bytes):
    called = Called()

    given = await called.call(Scripted(accepted(), answer(state), answer(b'{"status":"succeeded"}')))

    assert shape(given).structured == {"status": "succeeded"}


async def test_accepted_work_is_asked_for_when_the_back_end_says():
    called = Called()
    script = Scripted(
        accepted(more="Retry-After: 7\r\n"),
        answer(b"", status="503 Busy", more="Retry-After: 0\r\n"),
        accepted("/v1/jobs/8", more="Retry-After: 9999999999\r\n"),
        answer(b'{"a":1}'),
    )

    given = await called.call(script, timeout_seconds=300)

    assert shape(given).structured == {"a": 1}
    assert called.pauses == [7.0, 0.5, 30.0]
    assert [seen.target for seen in called.seen[1:]] == ["/v1/jobs/7", "/v1/jobs/7", "/v1/jobs/8"]


async def test_accepted_work_that_is_done_leads_to_its_answer():
    called = Called()
    moved = answer(b"", status="303 See Other", more="Location: ../results/7?full=1\r\n")

    given = await called.call(Scripted(accepted(), moved, answer(b'{"total":3}')))

    assert shape(given).structured == {"total": 3}
    assert called.seen[-1].target == "/v1/results/7?full=1"


async def test_accepted_work_that_fails_is_an_error():
    called = Called()

    given = await called.call(Scripted(accepted(), answer(b'{"detail":"gone"}', status="410 Gone")))

    assert given.is_error
    assert given.status == "410 Gone"


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1:9/v1/jobs/7", "/admin", "/v1/../admin", "/v1/%2e%2e/admin", "//other/v1/jobs", "http://[", ""],
)
async def test_accepted_work_is_asked_for_within_the_origin_and_path_of_the_tool_only(location: str):
    called = Called()

    given = await called.call(Scripted(accepted(location)))

    assert given.status == "202 Accepted"
    assert len(called.seen) == 1
    assert called.pauses == []


async def test_accepted_work_does_not_lead_elsewhere_later():
    called = Called()
    moved = answer(b"", status="302 Found", more="Location: http://127.0.0.1:9/v1\r\n")

    given = await called.call(Scripted(accepted(), moved))

    assert given.status == "302 Found"
    assert len(called.seen) == 2


@pytest.mark.parametrize("channel", [None, Waiting(waits=False), Waiting(refusal=QuotaExceeded("tasks", 1.0))])
async def test_accepted_work_is_explained_where_the_client_does_not_wait(channel: InMemoryClientChannel | None):
    called = Called()
    called.channel = channel

    result = shape(await called.call(Scripted(accepted())))

    (block,) = result.content
    assert "The work goes on (202 Accepted); read its state at Location." in block.text  # type: ignore[union-attr]
    assert len(called.seen) == 1


async def test_accepted_work_is_told_as_it_stands_before_the_deadline():
    called = Called()

    running = answer(b'{"status":"running"}', more="Retry-After: 30\r\n")  # later than the tool's timeout

    given = await called.call(Scripted(accepted(), running), timeout_seconds=30)

    assert shape(given).structured == {"status": "running"}
    assert called.pauses == [1.0]


async def test_accepted_work_is_asked_for_with_the_credential_of_the_tool():
    credentials = InMemoryCredentialSource()
    credentials.put(TenantId("acme"), "key", {"apiKey": "s3cr3t"})
    authentication = {"type": "apiKey", "secret": {"name": "key"}, "location": "query", "parameter_name": "k"}
    called = Called()
    script = Scripted(accepted("/v1/jobs/7?x=1"), answer())

    await called.call(script, credentials, tenant="acme", authentication=authentication)

    assert [seen.target for seen in called.seen] == ["/v1/pets?k=s3cr3t", "/v1/jobs/7?x=1&k=s3cr3t"]
    assert called.seen[1].header("Content-Type") is None


async def test_accepted_work_whose_state_cannot_be_read_is_a_failure_of_a_call_that_was_sent():
    called = Called()

    with pytest.raises(BackendProtocolError):
        await called.call(Scripted(accepted(), b"nonsense\r\n\r\n"))
