"""What a request to the MCP endpoint passes, and which method is answered where.

    parse → authenticate → which era? → envelope (stateless) or revision (handshake) → method → reply

Strangers are told 401 before anything else; their requests are counted, by the message.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.gateway import Gateway
from stoa.application.memory.clock import SystemClock
from stoa.application.ports.clock import Clock
from stoa.application.ports.message_bus import MessageBus
from stoa.application.tasks.run_tasks import LEASE_SECONDS, TICK_SECONDS, RunTasks
from stoa.domain.access.identity import Principal
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.calls.invocation import Credential
from stoa.domain.calls.session import Session
from stoa.domain.errors import (
    ClientCapabilityMissing,
    NotAuthenticated,
    NotPermitted,
    QuotaExceeded,
    SessionsFull,
    SharedStateUnavailable,
    StoaError,
)
from stoa.domain.operations.catalogue import CatalogueDiff
from stoa.domain.operations.operation import Kind
from stoa.domain.policy.refusal import Refusal
from stoa.domain.schema.json_value import as_object, is_array
from stoa.interfaces.mcp.client_requests import wire as asking
from stoa.interfaces.mcp.client_requests.channels import HEARTBEAT_SECONDS, Channels
from stoa.interfaces.mcp.client_requests.request_state import RequestStates
from stoa.interfaces.mcp.exchange import JSON, Exchange, MethodCall, Refused, Reply
from stoa.interfaces.mcp.jsonrpc import messages
from stoa.interfaces.mcp.jsonrpc.messages import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_CAPABILITY,
    REQUEST_CANCELLED,
    Fault,
    Notification,
    Request,
    RequestId,
    Response,
)
from stoa.interfaces.mcp.methods.completion import Completions
from stoa.interfaces.mcp.methods.lifecycle import Lifecycle
from stoa.interfaces.mcp.methods.listing import Listing
from stoa.interfaces.mcp.methods.prompts import Prompts
from stoa.interfaces.mcp.methods.resources import Resources
from stoa.interfaces.mcp.methods.subscriptions import DEBOUNCE_SECONDS, Subscriptions
from stoa.interfaces.mcp.methods.tasks import McpTaskDoor, Tasks
from stoa.interfaces.mcp.methods.tools import Tools
from stoa.interfaces.mcp.streams.sessions import Sessions
from stoa.interfaces.mcp.streams.streams import Recording
from stoa.interfaces.mcp.wire import envelope, param_headers
from stoa.interfaces.mcp.wire.headers import Headers
from stoa.interfaces.wire.bodies import Admission
from stoa.interfaces.wire.challenge import ProtectedResource
from stoa.interfaces.wire.errors import client_of, retry_after_seconds, wire_error
from stoa.interfaces.wire.json_text import LARGE_BYTES, PacedParser
from stoa.interfaces.wire.revisions import ASSUMED, HANDSHAKE_REVISIONS, STATELESS_REVISIONS, Revision

_log = logging.getLogger(__name__)

_LISTS: dict[Kind, str] = {"tool": "tools", "resource": "resources", "prompt": "prompts"}
"""What the protocol calls the list of each kind."""

MAX_BATCH = 50
PAGE_SIZE = 1000

_COUNTED = frozenset(
    {
        "tools/list",
        "tools/call",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "prompts/list",
        "prompts/get",
        "completion/complete",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
    }
)
"""Methods of the handshake era that count against the caller's limit by themselves (docs/decisions/0015)."""
INTERNAL_REFUSAL = Refused(RefusalReason.INTERNAL, 500)
_CLIENT_FAULTS = frozenset({INVALID_PARAMS, MISSING_CAPABILITY})

Handler = Callable[[MethodCall], Awaitable[bytes | Reply]]


class _Method(NamedTuple):
    handler: Handler
    in_handshake_era: bool = True
    in_stateless_era: bool = True


class McpEngine:
    """Answers one exchange at a time; keeps no state between them. `page_size`: entries on one page of a list.
    `states`: what a call with several rounds needs; without it another process cannot go on with what this one began.
    `sessions`: without them every request of the handshake era stands for itself. `lease_seconds`: how long a task may
    go unheard of before it counts as lost; `tick_seconds`: how often it is looked at. `bus`: where replicas tell each
    other what programs announce, once it is `open`. `report`: told of defects that background work goes on after.
    """

    def __init__(
        self,
        gateway: Gateway,
        resource: ProtectedResource,
        version: str,
        *,
        page_size: int = PAGE_SIZE,
        states: RequestStates | None = None,
        sessions: Sessions | None = None,
        bus: MessageBus | None = None,
        clock: Clock | None = None,
        debounce_seconds: float = DEBOUNCE_SECONDS,
        lease_seconds: float = LEASE_SECONDS,
        tick_seconds: float = TICK_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        report: ReportDefect = log_defect,
    ) -> None:
        self._gateway = gateway
        self._resource = resource
        clock = clock or SystemClock()
        self._clock = clock
        self._sessions = sessions
        self._json = PacedParser()
        lifecycle = Lifecycle(version, gateway, sessions)
        states = states or RequestStates(os.urandom(32), clock, resource.url)
        channels = Channels(states, sessions, clock, heartbeat_seconds)
        watch = gateway.watch_resources
        self.subscriptions = Subscriptions(
            tuple(_LISTS.values()),
            lifecycle.server_info,
            clock,
            watch,
            sessions,
            bus=bus,
            debounce_seconds=debounce_seconds,
            report=report,
        )
        gateway.registry.subscribe(self._publish)
        watch.subscribe(self.subscriptions.publish_update)
        listing = Listing(lifecycle.server_info, page_size)
        runs = RunTasks(
            gateway.invoke_operation,
            gateway.tasks,
            clock,
            McpTaskDoor(lifecycle.server_info),
            lease_seconds=lease_seconds,
            tick_seconds=tick_seconds,
            report=report,
        )
        tasks = self._tasks = Tasks(gateway, channels, lifecycle.server_info, runs)
        tools = Tools(gateway, channels, lifecycle.server_info, listing, tasks)
        resources = Resources(gateway, channels, lifecycle.server_info, listing, sessions)
        prompts = Prompts(gateway, channels, lifecycle.server_info, listing)
        completions = Completions(gateway, lifecycle.server_info)
        self._methods = {
            "initialize": _Method(lifecycle.initialize, in_stateless_era=False),
            "ping": _Method(lifecycle.ping, in_stateless_era=False),
            "server/discover": _Method(lifecycle.discover, in_handshake_era=False),
            "tools/list": _Method(tools.list),
            "tools/call": _Method(tools.call),
            "resources/list": _Method(resources.list),
            "resources/templates/list": _Method(resources.templates),
            "resources/read": _Method(resources.read),
            "prompts/list": _Method(prompts.list),
            "prompts/get": _Method(prompts.get),
            "completion/complete": _Method(completions.complete),
            "subscriptions/listen": _Method(self._listen, in_handshake_era=False),
            "tasks/get": _Method(tasks.get, in_handshake_era=False),
            "tasks/update": _Method(tasks.update, in_handshake_era=False),
            "tasks/cancel": _Method(tasks.cancel, in_handshake_era=False),
        }
        if sessions is not None:
            self._methods["logging/setLevel"] = _Method(lifecycle.set_level, in_stateless_era=False)
            self._methods["resources/subscribe"] = _Method(resources.subscribe, in_stateless_era=False)
            self._methods["resources/unsubscribe"] = _Method(resources.unsubscribe, in_stateless_era=False)

    def _publish(self, diff: CatalogueDiff) -> None:
        keys = (*(one.key for one in (*diff.added, *diff.changed)), *diff.removed)
        for name, owner in {(_LISTS[key.kind], key.tenant) for key in keys}:
            self.subscriptions.publish(name, owner)

    @property
    def methods(self) -> Mapping[str, tuple[bool, bool]]:
        """All methods: is it there in the handshake era, and in the stateless one?"""
        return {name: (method.in_handshake_era, method.in_stateless_era) for name, method in self._methods.items()}

    async def open(self) -> None:
        """Hear what programs announce on other replicas, and let those hear; for one process alone there is no need."""
        await self.subscriptions.open()

    async def watch_tasks(self) -> None:
        """End tasks whose processes died. Background work, until it is cancelled."""
        await self._tasks.watch()

    def end_streams(self) -> None:
        """End the streams that belong to no request and those of `subscriptions/listen`; what they were told so far is
        still sent. Their clients may come back, to another process."""
        self.subscriptions.end_all()
        if self._sessions is not None:
            self._sessions.streams.end_all()

    async def close(self) -> None:
        """End the calls that go on in the background; no exchange is answered afterwards."""
        await self._tasks.close()
        await self.subscriptions.close()

    def refuse_stranger(self, address: str | None, credential: Credential) -> Reply | None:
        """The answer to a request that no work is done for, not even reading it; None: read on."""
        try:
            self._gateway.strangers.admit(address, credential, "mcp")
        except QuotaExceeded as refusal:
            return self._told(self._refusal(refusal, None), address)
        return None

    async def admit(self, credential: Credential) -> Admission:
        """Who the caller is, or the refusal, by its headers alone: for a transport to ask before it reads a body."""
        try:
            return await self._gateway.admission.authenticate(credential)
        except StoaError as refusal:
            return refusal
        except Exception:  # noqa: BLE001  # last line of defence: a defect of ours must not leak to the client
            _log.exception("authentication failed unexpectedly")
            return StoaError("Internal error")

    def refused(self, refusal: StoaError) -> Reply:
        """The reply for a request that a transport refuses to an authenticated caller."""
        return self._refusal(refusal, None)

    def answer(self, exchange: Exchange) -> Awaitable[Reply]:
        value: Any = None
        if exchange.rejection is None:
            if len(exchange.body) > LARGE_BYTES:
                return self._answer_large(exchange)
            try:
                value = messages.parse(exchange.body)
            except Fault as fault:
                exchange.rejection = _fault(fault, fault.http_status)
        return self.answer_parsed(exchange, value)

    async def _answer_large(self, exchange: Exchange) -> Reply:
        value: Any = None
        try:
            value = await messages.parse_paced(exchange.body, self._json)
        except Fault as fault:
            exchange.rejection = _fault(fault, fault.http_status)
        return await self.answer_parsed(exchange, value)

    async def answer_parsed(self, exchange: Exchange, value: Any) -> Reply:
        """As `answer`, for a transport that has to look into the message itself."""
        caller = exchange.caller or await self.admit(exchange.credential)
        if isinstance(caller, StoaError):
            calls, name = _asked(value)
            self._gateway.strangers.refused(exchange.address, "mcp", caller, calls, name)
            reply = self._refusal(caller, None, messages.id_of(value))
            return self._told(reply, exchange.address, client_of(caller), calls)
        try:
            if exchange.rejection is not None:
                reply = exchange.rejection
            elif envelope.is_stateless(exchange.version, value):
                reply = await self._stateless(exchange, value, caller)
            else:
                reply = await self._handshake_era(exchange, value, caller)
        except Exception:
            self._tell(INTERNAL_REFUSAL, exchange.address, caller.client)
            raise
        return reply if reply.refused is None else self._told(reply, exchange.address, caller.client)

    def _told(self, reply: Reply, address: str | None, client: str | None = None, calls: int = 1) -> Reply:
        """The reply, which those who watch refusals have been told of."""
        if reply.refused is not None:
            self._tell(reply.refused, address, client, calls)
        return reply

    def _tell(self, refused: Refused, address: str | None, client: str | None, calls: int = 1) -> None:
        refusal = Refusal(refused.reason, "mcp", refused.status, client, address, calls)
        self._gateway.refusals.tell(refusal)

    async def _stateless(self, exchange: Exchange, value: Any, caller: Principal) -> Reply:
        try:
            if exchange.version not in STATELESS_REVISIONS and exchange.headers is not None:
                envelope.check_known(exchange.version, value)
            message = messages.read(value)
            if isinstance(message, Notification):
                if exchange.headers is not None:
                    envelope.check_version(exchange.version)
                return Reply(202)
            if not isinstance(message, Request):
                raise Fault(INVALID_REQUEST, "This revision has no requests from the server to respond to")
            revision = envelope.check_envelope(message, exchange.headers)
            if message.method == "tools/call" and self._gateway.registry.has_routed and exchange.headers is not None:
                await self._check_param_headers(message, exchange, exchange.headers, caller)
            method = self._methods.get(message.method)
            if method is None or not method.in_stateless_era:
                unknown = f"Unknown method: {message.method}"
                raise Fault(METHOD_NOT_FOUND, unknown, http_status=404, request_id=message.id)
        except Fault as fault:
            return _fault(fault, fault.http_status)
        return await self._dispatch(method.handler, MethodCall(message, revision, caller, exchange))

    async def _check_param_headers(
        self, request: Request, exchange: Exchange, headers: Headers, caller: Principal
    ) -> None:
        name = request.params.get("name")
        viewer = caller.acting_for(exchange.tenant)
        if viewer is None or not isinstance(name, str):
            return
        if not self._gateway.registry.has_routed_arguments(viewer.tenant, name):
            return
        given = request.params.get("arguments")
        routed, arguments = await self._gateway.routed_arguments(caller, exchange.tenant, name, "mcp", given)
        try:
            param_headers.check(routed, arguments, headers)
        except Fault as fault:
            fault.request_id = request.id
            raise

    async def _listen(self, call: MethodCall) -> Reply:
        if call.exchange.stream is None:
            wants = "Accept text/event-stream to listen"
            raise Fault(INVALID_REQUEST, wants, http_status=406, reason=RefusalReason.NOT_ACCEPTABLE)
        await self._gateway.admission.limit(call.caller)
        task_ids = await self._tasks.watched(call)
        reply = await self.subscriptions.listen(call, task_ids)
        if task_ids and reply.feed is not None:
            self._tasks.follow(reply.feed, call, task_ids, self.subscriptions)
        return reply

    async def _handshake_era(self, exchange: Exchange, value: Any, caller: Principal) -> Reply:
        try:
            session = await self._session(exchange, value, caller)
            revision = (
                HANDSHAKE_REVISIONS.get(exchange.version or "", ASSUMED)
                if session is None
                else HANDSHAKE_REVISIONS[session.revision]
            )
            if is_array(value) and revision.has_batches:
                return await self._batch(exchange, value, caller, revision, session)
            return await self._one(exchange, value, caller, revision, session)
        except Fault as fault:
            return _fault(fault, fault.http_status)
        except (SessionsFull, SharedStateUnavailable) as refusal:
            return self._refusal(refusal, None)

    async def _session(self, exchange: Exchange, value: Any, caller: Principal) -> Session | None:
        """The session that a request names; None where it names none, which is served all the same. `initialize` begins
        a new one, whatever session the client had."""
        session_id = exchange.session_id
        if self._sessions is None or session_id is None or as_object(value).get("method") == "initialize":
            return None
        session = await self._sessions.find(session_id, caller)
        if exchange.stream is not None:
            exchange.stream.record(Recording(self._sessions.streams, session))
        return session

    async def _one(
        self, exchange: Exchange, value: Any, caller: Principal, revision: Revision, session: Session | None
    ) -> Reply:
        try:
            message = messages.read(value)
        except Fault as fault:
            return _fault(fault, fault.http_status)
        if not isinstance(message, Request):
            if session is not None:
                await self._note(session, message)
            return Reply(202)
        method = self._methods.get(message.method)
        if method is None or not method.in_handshake_era:
            return _fault(Fault(METHOD_NOT_FOUND, f"Unknown method: {message.method}", request_id=message.id), 200)
        call = MethodCall(message, revision, caller, exchange, session)
        if session is None:
            return await self._dispatch(method.handler, call)
        return await self._cancellable(method.handler, call, session)

    async def _note(self, session: Session, message: Notification | Response) -> None:
        if self._sessions is None:
            return
        if isinstance(message, Response):
            await self._sessions.answered(session, message)
        elif message.method == "notifications/cancelled":
            await self._sessions.cancel(session, message.params.get("requestId"))

    async def _cancellable(self, handler: Handler, call: MethodCall, session: Session) -> Reply:
        """As `_dispatch`, and the client may cancel it. A posted request needs an answer all the same."""
        task = asyncio.current_task()
        if self._sessions is None or task is None:
            return await self._dispatch(handler, call)
        with self._sessions.running(session, call.request.id, task) as running:
            try:
                return await self._dispatch(handler, call)
            except asyncio.CancelledError:
                if not running.is_cancelled or task.uncancel() > 0:
                    raise
        return _fault(Fault(REQUEST_CANCELLED, "Request cancelled", request_id=call.request.id), 200)

    async def answer_other(self, http_method: str, exchange: Exchange, last_event_id: str | None = None) -> Reply:
        """GET: the session's stream of its own, or the rest of one that broke off. DELETE: the session ends."""
        try:
            envelope.check_known(exchange.version, None)
        except Fault as fault:
            return _fault(fault, fault.http_status)
        if self._sessions is None or (exchange.version is not None and exchange.version not in HANDSHAKE_REVISIONS):
            return self._told(_not_allowed(b"POST"), exchange.address)
        if http_method not in {"GET", "DELETE"}:
            return self._told(_not_allowed(b"GET, POST, DELETE"), exchange.address)
        try:
            caller = await self._gateway.admission.authenticate(exchange.credential)
        except StoaError as refusal:
            self._gateway.strangers.refused(exchange.address, "mcp", refusal)
            return self._told(self._refusal(refusal, None), exchange.address, client_of(refusal))
        reply = await self._answer_session(http_method, exchange, caller, last_event_id)
        return self._told(reply, exchange.address, caller.client)

    async def _answer_session(
        self, http_method: str, exchange: Exchange, caller: Principal, last_event_id: str | None
    ) -> Reply:
        if exchange.session_id is None or self._sessions is None:
            return _fault(Fault(INVALID_REQUEST, "Missing session ID"), 400)
        try:
            session = await self._sessions.find(exchange.session_id, caller)
            if http_method == "GET":
                return exchange.rejection or await self._follow(self._sessions, session, caller, last_event_id)
            await self._sessions.end(session)
        except Fault as fault:
            return _fault(fault, fault.http_status)
        except (SessionsFull, SharedStateUnavailable) as refusal:
            return self._refusal(refusal, None)
        return Reply(200, b"{}", (JSON,))

    async def _follow(
        self, sessions: Sessions, session: Session, caller: Principal, last_event_id: str | None
    ) -> Reply:
        try:
            await self._gateway.admission.limit(caller)
        except StoaError as refusal:
            return self._refusal(refusal, None)
        self.subscriptions.attend()
        feed = await sessions.follow(session, last_event_id, caller)
        if caller.expires_at is not None:  # a stream must not outlive the right to it
            left = caller.expires_at - self._clock.now()
            feed.deadline = asyncio.get_running_loop().call_later(max(0.0, left.total_seconds()), feed.expire)
        return Reply(200, feed=feed)

    async def _batch(
        self, exchange: Exchange, values: list[Any], caller: Principal, revision: Revision, session: Session | None
    ) -> Reply:
        if not 0 < len(values) <= MAX_BATCH:
            return _fault(Fault(INVALID_REQUEST, f"A batch has 1 to {MAX_BATCH} messages"), 400)
        if any(as_object(value).get("method") == "initialize" for value in values):
            return _fault(Fault(INVALID_REQUEST, "initialize must not be in a batch"), 400)
        replies = [await self._member(exchange, value, caller, revision, session) for value in values]
        for reply in replies:
            self._told(reply, exchange.address, caller.client)
        bodies = [reply.body for reply in replies if reply.body]
        return Reply(200, b"[" + b",".join(bodies) + b"]", (JSON,)) if bodies else Reply(202)

    async def _member(
        self, exchange: Exchange, value: Any, caller: Principal, revision: Revision, session: Session | None
    ) -> Reply:
        """A message of a batch. Requests that are free by themselves count here: a batch must not make many of one."""
        fields = as_object(value)
        method = fields.get("method")
        if not isinstance(method, str) or method in _COUNTED or "id" not in fields:
            return await self._one(exchange, value, caller, revision, session)
        try:
            await self._gateway.admission.limit(caller)
        except StoaError as refusal:
            reply = self._refusal(refusal, None, messages.id_of(value))
            return Reply(200, reply.body, reply.headers, refused=reply.refused)
        return await self._one(exchange, value, caller, revision, session)

    async def _dispatch(self, handler: Handler, call: MethodCall) -> Reply:
        try:
            answer = await handler(call)
            return Reply(200, answer, (JSON,)) if isinstance(answer, bytes) else answer
        except Fault as fault:
            fault.request_id = call.request.id
            return _fault(fault, fault.http_status if call.revision.is_stateless else 200)
        except StoaError as refusal:
            return self._refusal(refusal, call)
        except Exception:  # noqa: BLE001  # last line of defence: a defect of ours must not leak to the client
            _log.exception("%s failed unexpectedly", call.request.method)
            return self._refusal(StoaError("Internal error"), call)

    def _refusal(self, refusal: StoaError, call: MethodCall | None, request_id: RequestId | None = None) -> Reply:
        """A refusal as the protocol carries it. 401 and 403 need their HTTP status in every era, or no client would
        ever ask for another token; the other statuses are the stateless era's alone."""
        wire = wire_error(refusal)
        data: dict[str, Any] = {"code": refusal.code}
        headers: list[tuple[bytes, bytes]] = [JSON]
        challenge = self._resource.challenge(refusal)
        if challenge is not None:
            headers.append((b"www-authenticate", challenge.encode("latin-1", "replace")))
        if isinstance(refusal, QuotaExceeded):
            data |= _limit_data(refusal)
            headers.append((b"retry-after", b"%d" % retry_after_seconds(refusal)))
        if isinstance(refusal, ClientCapabilityMissing):
            data["requiredCapabilities"] = asking.required(refusal.missing)
        if call is None or isinstance(refusal, (NotAuthenticated, NotPermitted)):
            status = wire.http_status
        elif not call.revision.is_stateless:
            status = wire.http_status if isinstance(refusal, (SessionsFull, SharedStateUnavailable)) else 200
        elif wire.rpc_code in _CLIENT_FAULTS:
            status = 400
        else:
            status = wire.http_status if isinstance(refusal, QuotaExceeded) else 200
        if call is not None:
            request_id = call.request.id
        body = messages.error(request_id, wire.rpc_code, refusal.message, data)
        return Reply(status, body, tuple(headers), refused=Refused(refusal.refusal_reason, wire.http_status))


def _limit_data(refusal: QuotaExceeded) -> dict[str, Any]:
    """When to come back, and where it is a limit by the minute, which and how much of it there is."""
    data: dict[str, Any] = {"limitName": refusal.limit_name, "retryAfterSeconds": refusal.retry_after_seconds}
    verdict = refusal.verdict
    if verdict is not None and verdict.claim is not None:
        limit = verdict.claim.limit
        data["limit"] = {"requestsPerMinute": limit.requests_per_minute, "burst": limit.burst}
        data["remaining"], data["resetSeconds"] = verdict.remaining, verdict.reset_seconds
    return data


def _asked(value: Any) -> tuple[int, str]:
    """How many messages a body holds, at most as many as are read, and what the first names."""
    several = is_array(value)
    params = as_object(as_object(value[0] if several and value else value).get("params"))
    name = params.get("name", params.get("uri"))
    return max(1, min(len(value), MAX_BATCH)) if several else 1, name if isinstance(name, str) else ""


def _fault(fault: Fault, status: int) -> Reply:
    body = messages.error(fault.request_id, fault.code, fault.message, fault.data)
    refused = None if fault.code == REQUEST_CANCELLED else Refused(fault.reason, fault.http_status)
    return Reply(status, body, (JSON,), refused=refused)


def _not_allowed(allowed: bytes) -> Reply:
    body = messages.error(None, INVALID_REQUEST, "This HTTP method has no meaning here; see Allow")
    return Reply(405, body, (JSON, (b"allow", allowed)), refused=Refused(RefusalReason.METHOD, 405))
