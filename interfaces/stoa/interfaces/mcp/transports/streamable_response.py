"""The response to one POST of Streamable HTTP: JSON, or an event stream where something comes before the answer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from enum import Enum
from time import monotonic

from stoa.interfaces.mcp.exchange import JSON, PLAIN, Reply, ResponseStream
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.jsonrpc.messages import INTERNAL_ERROR
from stoa.interfaces.mcp.streams.event_queue import Event, EventQueue
from stoa.interfaces.mcp.streams.event_recording import EventRecording
from stoa.interfaces.mcp.transports.server_sent_events import (
    PING,
    Receive,
    Send,
    frame,
    send_part,
    start_events,
    wait_for_disconnect,
)

_log = logging.getLogger(__name__)

Respond = Callable[[bytes], bool]
"""Answers with status 200 and JSON. False: it was not possible, and nothing was sent."""
SESSION_HEADER = b"mcp-session-id"
ATTEND_AFTER_SECONDS = 0.05
"""Time before tasks watch for a client that goes away and keep the response alive. Most responses are over by then, and
cost no task."""


class ResponseState(Enum):
    """The part of a response that was sent.

    PENDING ──▶ STREAMING ──▶ DETACHED
       │            │            │
       └────────────┴──▶ DONE ◀──┘        PENDING or STREAMING ──▶ GONE
    """

    PENDING = "pending"
    """Nothing was sent: the answer may still be JSON with an HTTP status of its own."""
    STREAMING = "streaming"
    """The head of an event stream, and perhaps events."""
    DETACHED = "detached"
    """The end, although the answer is still to come: the client resumes the stream, and finds it recorded."""
    DONE = "done"
    """The answer. Messages that come later are dropped."""
    GONE = "gone"
    """Nothing any more: the client closed the connection, which cancels the request in the stateless era."""


class Attendance:
    """Looks after the responses that are not over after a while: has their clients watched and the responses kept
    alive. One timer serves all responses, for most are over before and should cost neither a timer nor a task."""

    def __init__(self, after_seconds: float = ATTEND_AFTER_SECONDS) -> None:
        self._after_seconds = after_seconds
        self.waiting: dict[StreamableResponse, float] = {}
        """Responses, until they are over, and the time at which each is looked after, in this order."""
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def enter(self, response: "StreamableResponse", loop: asyncio.AbstractEventLoop) -> None:
        self.waiting[response] = monotonic() + self._after_seconds
        if self._timer is None or self._loop is not loop:  # a timer of an earlier loop never ends
            self._loop = loop
            self._timer = loop.call_later(self._after_seconds, self._look)

    def _look(self) -> None:
        now = monotonic()
        due = [response for response, time in self.waiting.items() if time <= now]
        for response in due:
            del self.waiting[response]
            response.attend()
        self._timer = None
        if self.waiting and self._loop is not None:
            left = max(0.0, next(iter(self.waiting.values())) - now)
            self._timer = self._loop.call_later(left, self._look)


class StreamableResponse(ResponseStream):
    """Waits for the answer of the engine and sends it. Becomes an event stream when a message comes before the answer,
    when the answer is late, or when the client takes nothing else; `state` says how far it is.

    `receive`: shows when the client goes away, which cancels the answer; None: it has no effect. `late_seconds`: after
    which the response becomes a stream, and between the pings on it; None: the client takes no events. `takes_json`:
    the client takes JSON; otherwise it takes events only. `respond_json`: answers with JSON in one step where it can.
    `task`: the one that waits for the answer, where it is known.
    """

    def __init__(
        self,
        send: Send,
        receive: Receive | None,
        late_seconds: float | None,
        takes_json: bool,
        attendance: Attendance,
        respond_json: Respond | None = None,
        task: asyncio.Task[None] | None = None,
    ) -> None:
        self.state = ResponseState.PENDING
        self._send = send
        self._receive = receive
        self._late_seconds = late_seconds
        self._takes_json = takes_json
        self._attendance = attendance
        self._respond_json = respond_json
        self._task = task
        self._starting: asyncio.Lock | None = None
        self._recording: EventRecording | None = None
        self._attendants: list[asyncio.Task[None]] = []

    async def deliver(self, answering: Awaitable[Reply]) -> EventQueue | None:
        """Send the reply, or return its events for the caller to stream. Cancels `answering` when the client goes away,
        if `receive` was given."""
        self._task = task = self._task or asyncio.current_task()
        if task is not None:
            self._attendance.enter(self, task.get_loop())
        try:
            reply = await answering
        except asyncio.CancelledError:
            if self.state is not ResponseState.GONE or task is None:
                raise  # the server is stopping
            task.uncancel()
            return None
        except Exception:  # noqa: BLE001  # last line of defence: a defect of ours must not leak to the client
            _log.exception("a request to the MCP endpoint failed unexpectedly")
            # Not a refusal to report: the engine reported it when it let the exception through.
            reply = Reply(500, messages.error(None, INTERNAL_ERROR, "Internal error"), (JSON,))
        finally:
            self._attendance.waiting.pop(self, None)
            if self._attendants:
                for attendant in self._attendants:
                    attendant.cancel()
                # A ping that is being sent must be over before the answer is.
                await asyncio.wait(self._attendants)
        if reply.events is not None:
            return reply.events
        if (  # the usual case of `finish`, without another coroutine
            self._respond_json is not None
            and self._takes_json
            and self._starting is None
            and self.state is ResponseState.PENDING
            and reply.status == 200
            and reply.headers is PLAIN
            and reply.session is None
            and self._respond_json(reply.body)
        ):
            self.state = ResponseState.DONE
            return None
        await self.finish(reply)
        return None

    def attend(self) -> None:
        """Begins to watch for a client that goes away, and to keep the response alive."""
        task = self._task
        if self._receive is not None and task is not None:
            self._attendants.append(asyncio.create_task(self._cancel_when_gone(self._receive, task)))
        if self._late_seconds is not None:
            self._attendants.append(asyncio.create_task(self._keep_alive(self._late_seconds)))

    async def _cancel_when_gone(self, receive: Receive, task: asyncio.Task[None]) -> None:
        await wait_for_disconnect(receive)
        self.state = ResponseState.GONE
        task.cancel()

    async def _keep_alive(self, every_seconds: float) -> None:
        while True:
            await asyncio.sleep(every_seconds)
            await self.ping()

    def record(self, recording: EventRecording) -> None:
        self._recording = recording

    async def ping(self) -> None:
        """Keep the connection open with a comment, on an event stream that begins now if it has not yet."""
        await self._start()
        await self._write(PING)

    async def notify(self, message: bytes) -> None:
        if self.state in (ResponseState.DONE, ResponseState.GONE):
            return
        await self._start()
        event = await self._event(message)
        await self._write(frame(event))

    async def hang_up(self) -> None:
        """Become DETACHED, if the client can resume the stream."""
        recording = self._recording
        if recording is None or not recording.is_resumable:
            return
        await self._start()
        # Asked again: the stream is not resumable if its opening event could not be stored.
        if self.state is ResponseState.STREAMING and recording.is_resumable:
            self.state = ResponseState.DETACHED
            await send_part(self._send, b"", is_last=True)

    async def finish(self, reply: Reply) -> None:
        """Become DONE with this reply."""
        if self._starting is not None:
            async with self._starting:  # a start on its way decides whether this is still PENDING
                pass
        # An error keeps its HTTP status while that can still be said.
        if self.state is ResponseState.PENDING and (self._takes_json or reply.status != 200):
            self.state = ResponseState.DONE
            if not (is_plain(reply) and self._respond_json is not None and self._respond_json(reply.body)):
                await send_reply(self._send, reply)
            return
        await self._start()
        is_connected = self.state is ResponseState.STREAMING
        # Before the event is recorded: no message may be recorded behind the last one.
        self.state = ResponseState.DONE
        event = await self._event(reply.body, is_last=True)
        if is_connected:
            await send_part(self._send, frame(event), is_last=True)

    async def _start(self) -> None:
        """PENDING becomes STREAMING; any other state stays. Of a message and a ping that both want to be the first, the
        second waits until the head and the opening event are sent."""
        if self._starting is None:
            self._starting = asyncio.Lock()
        async with self._starting:
            if self.state is not ResponseState.PENDING:
                return
            await start_events(self._send)
            if self.state is ResponseState.PENDING:  # only now: a start that was cancelled on its way sent nothing
                self.state = ResponseState.STREAMING
            opening = None if self._recording is None else await self._recording.opening()
            if opening is not None:
                await self._write(frame(opening))

    async def _write(self, part: bytes) -> None:
        """Send a part of the stream. Of a DETACHED one it was recorded, and is not sent."""
        if self.state is ResponseState.STREAMING:
            await send_part(self._send, part)

    async def _event(self, message: bytes, *, is_last: bool = False) -> Event:
        recording = self._recording
        return Event(message) if recording is None else await recording.event(message, is_last=is_last)


def is_plain(reply: Reply) -> bool:
    """True for JSON with status 200 and no further headers."""
    return reply.status == 200 and reply.headers == PLAIN and reply.session is None


async def send_reply(send: Send, reply: Reply) -> None:
    """Send a reply as one JSON body, or none."""
    headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
    if reply.session is not None:
        headers.append((SESSION_HEADER, reply.session.id.encode("ascii")))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
