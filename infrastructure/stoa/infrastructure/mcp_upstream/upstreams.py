"""All upstream servers of one gateway, and their sessions.

A session belongs to one principal, unless its server keeps no state or its manifest says that it may be shared. It is
opened with the first call, closed when it has not been used for a while, and opened again when the server has lost it.
"""

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple

from stoa.application.memory.clock import SystemClock
from stoa.application.ports import Clock, CredentialSource
from stoa.domain.access.identity import Principal, TenantId
from stoa.domain.client_requests.client_request import NO_CAPABILITIES, ClientCapabilities
from stoa.domain.errors import BackendTimedOut, BackendUnavailable
from stoa.domain.operations.binding import Authentication, TlsSecrets
from stoa.infrastructure.http_client import ANYWHERE, HostResolver, OutboundRules
from stoa.infrastructure.http_client.backend_answers import HEADERS
from stoa.infrastructure.http_client.http1 import Http1Client
from stoa.infrastructure.http_client.http1_errors import translated_failure
from stoa.infrastructure.http_client.tls_secrets import TlsContexts
from stoa.infrastructure.mcp_upstream.binding import McpServer
from stoa.infrastructure.mcp_upstream.http import HttpSession
from stoa.infrastructure.mcp_upstream.messages import UpstreamFault
from stoa.infrastructure.mcp_upstream.session import NO_ACCESS, Access, Session
from stoa.infrastructure.mcp_upstream.sse import SseSession

IDLE_SECONDS = 300.0
MAX_CONNECTIONS = 16_384
"""To one server: each session may hold one for what the server sends by itself."""
OPEN_SECONDS = 60.0
"""For starting a program and agreeing on a revision; the deadline of a call may be shorter."""
SHORT_LIFE_NS = 30 * 1_000_000_000
"""A session that ended sooner counts as a failure of its server."""
FIRST_DELAY_SECONDS = 1.0
LAST_DELAY_SECONDS = 60.0


class Owner(NamedTuple):
    """Whose session it is."""

    identity: str
    tenant: TenantId | None

    @classmethod
    def of(cls, principal: Principal) -> "Owner":
        return cls(principal.identity_key, principal.tenant)


NOBODY: Owner | None = None
"""The owner of sessions that are shared, and of those in which a server is asked what it offers."""

_Key = tuple[Owner | None, ClientCapabilities] | None
"""None: the session that all callers share."""


@dataclass(slots=True)
class _Kept:
    session: Session
    since_ns: int
    material: ssl.SSLContext | None
    users: int = 0
    used_at_ns: int = 0


@dataclass(slots=True)
class _Failures:
    """Of one owner: no other waits for them."""

    count: int
    not_before_ns: int


class Upstream:
    """One server, called with one authentication, in one event loop."""

    def __init__(
        self,
        server: McpServer,
        tenant: TenantId | None,
        credentials: CredentialSource,
        http: Http1Client,
        tls: TlsContexts,
        clock: Clock,
        environment: Mapping[str, str],
    ) -> None:
        self._tls = tls
        self.server = server
        self._tenant = tenant
        self._credentials = credentials
        self._http = http
        self._clock = clock
        self._environment = environment
        self._revision: str | None = server.revision
        self._kept: dict[_Key, _Kept] = {}
        self._opening: dict[_Key, asyncio.Lock] = {}
        self._failures: dict[_Key, _Failures] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._is_stateless = False

    def session(
        self, owner: Owner | None, capabilities: ClientCapabilities, access: Access, whose: str
    ) -> "SessionUse":
        """A session of this owner, opened if there is none. `access`: signs what opens it; `whose`: names the tool in
        messages."""
        is_shared = self._is_stateless or self.server.sessions == "shared"
        return SessionUse(self, None if is_shared else (owner, capabilities), access, whose)

    def take(self, key: _Key) -> _Kept | None:
        """The open session under this key; None: one has to be opened."""
        kept = self._kept.get(key)
        if kept is None or kept.session.is_closed:
            return None
        return kept if kept.material is None or kept.material is self._material() else None

    async def open(self, key: _Key, access: Access, whose: str) -> tuple[_Key, _Kept]:
        """A session, under the key of which it turned out to be. Raises BackendUnavailable, BackendTimedOut or
        BackendProtocolError; no part of a call is sent then."""
        try:
            async with self._opening.setdefault(key, asyncio.Lock()):
                return await self._opened(key, access, whose)
        except (BackendUnavailable, BackendTimedOut) as failed:
            failed.nothing_was_sent = True  # of the call: what began the session is none of it
            raise

    def give_back(self, key: _Key, kept: _Kept) -> None:
        """Note that a use of the session is over."""
        kept.users -= 1
        kept.used_at_ns = self._clock.monotonic_ns()
        if kept.session.is_closed:
            self._count_failure(key, kept)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._close_idle)

    def forget(self, session: Session) -> None:
        """The server has lost this session."""
        for key, kept in [*self._kept.items()]:
            if kept.session is session:
                del self._kept[key]
                self._close_later(session)

    async def close(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        kept, self._kept = [*self._kept.values()], {}
        await asyncio.gather(*(each.session.close() for each in kept), *self._closing, return_exceptions=True)

    async def _opened(self, key: _Key, access: Access, whose: str) -> tuple[_Key, _Kept]:
        """The session under this key, which another call may have opened meanwhile."""
        material = self._material()
        kept = self._kept.get(key)
        if kept is not None:
            if not kept.session.is_closed and kept.material is material:
                return key, kept
            if kept.session.is_closed:
                self._count_failure(key, kept)
            self._kept.pop(key, None)
            self._close_later(kept.session)
        self._wait_after_failures(key, whose)
        self._make_room(whose)
        try:
            owner, capabilities = (None, NO_CAPABILITIES) if key is None else key
            is_asked = owner is not None and capabilities != NO_CAPABILITIES and access.is_lasting
            session = await self._introduced(capabilities, access, material, whose, is_asked=is_asked)
        except (BackendUnavailable, BackendTimedOut):
            if self.server.program is not None:
                self._add_failure(key)
            raise
        if not session.has_state:
            self._is_stateless = True
            key = None
            other = self._kept.get(key)
            if other is not None and not other.session.is_closed:  # another owner's, opened in the same moment
                self._close_later(session)
                return key, other
        now = self._clock.monotonic_ns()
        kept = self._kept[key] = _Kept(session, now, material, used_at_ns=now)
        return key, kept

    async def _introduced(
        self,
        capabilities: ClientCapabilities,
        access: Access,
        material: ssl.SSLContext | None,
        whose: str,
        *,
        is_asked: bool,
    ) -> Session:
        """`is_asked`: the session's client takes requests."""
        session: Session | None = None
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                session = await self._connected(capabilities, access, material, listens=is_asked)
                await session.introduce(access, self._revision)
        except TimeoutError:
            problem: Exception = BackendTimedOut(f"The back end of {whose} failed: it did not begin a session in time")
        except UpstreamFault as fault:
            hint = "; is its transport sse?" if self.server.url and self.server.transport != "sse" else ""
            problem = BackendUnavailable(f"The back end of {whose} failed: it refuses a session ({fault.code}){hint}")
        except OSError as lost:
            problem = translated_failure(lost, whose)
        except BaseException:
            await self._discarded(session)
            raise
        else:
            self._revision = self.server.revision or session.peer.revision
            return session
        self._revision = self.server.revision
        await self._discarded(session)
        raise problem  # outside the handler: what the system says of a connection is for operators

    async def _connected(
        self, capabilities: ClientCapabilities, access: Access, material: ssl.SSLContext | None, *, listens: bool
    ) -> Session:
        server, place = self.server, self.server.place
        if server.program is not None:
            from stoa.infrastructure.mcp_upstream.stdio import start

            named = {
                name: self._credentials.read(self._tenant, secret, name) for name, secret in server.program.secrets
            }
            return await start(server.program, place, capabilities, named, self._environment)
        if server.transport == "sse":
            events = SseSession(server.url or "", place, capabilities, self._http, headers=server.headers, tls=material)
            try:
                await events.connect(access)
            except BaseException:
                await events.close()
                raise
            return events
        session = HttpSession(
            server.url or "", place, capabilities, self._http, headers=server.headers, tls=material, listens=listens
        )
        session.farewell = access if access.is_lasting else NO_ACCESS
        return session

    def _material(self) -> ssl.SSLContext | None:
        """The context of the server's own TLS secrets, which are read for each call; None if there are none."""
        tls = self.server.tls
        return None if tls == TlsSecrets() else self._tls.of(self._tenant, tls)

    def _wait_after_failures(self, key: _Key, whose: str) -> None:
        failures = self._failures.get(key)
        if failures is None:
            return
        seconds = (failures.not_before_ns - self._clock.monotonic_ns()) / 1e9
        if seconds > 0:
            message = f"it failed {failures.count} times in a row, and is tried again in {seconds:.0f} s"
            raise BackendUnavailable(f"The back end of {whose} failed: {message}")

    def _count_failure(self, key: _Key, kept: _Kept) -> None:
        """Count the end of a session by itself, once."""
        if self._kept.get(key) is not kept:
            return
        del self._kept[key]
        self._close_later(kept.session)
        if self._clock.monotonic_ns() - kept.since_ns < SHORT_LIFE_NS:
            self._add_failure(key)
        else:
            self._failures.pop(key, None)

    def _add_failure(self, key: _Key) -> None:
        """The first is forgiven: the next call starts the server again at once."""
        known = self._failures.get(key)
        count = 1 if known is None else known.count + 1
        delay = 0.0 if count == 1 else min(FIRST_DELAY_SECONDS * 2 ** (count - 2), LAST_DELAY_SECONDS)
        self._failures[key] = _Failures(count, self._clock.monotonic_ns() + int(delay * 1e9))

    def _make_room(self, whose: str) -> None:
        if len(self._kept) < self.server.max_sessions:
            return
        idle = [(kept.used_at_ns, key) for key, kept in self._kept.items() if not kept.users]
        if not idle:
            raise BackendUnavailable(f"The back end of {whose} has as many sessions as it may; try again in a moment")
        key = min(idle, key=lambda entry: entry[0])[1]
        self._close_later(self._kept.pop(key).session)

    def _close_idle(self) -> None:
        self._sweep = None
        oldest = self._clock.monotonic_ns() - int(IDLE_SECONDS * 1e9)
        for key, kept in [*self._kept.items()]:
            if not kept.users and kept.used_at_ns <= oldest:
                del self._kept[key]
                self._failures.pop(key, None)
                self._opening.pop(key, None)
                self._close_later(kept.session)
        if self._kept:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._close_idle)

    def _close_later(self, session: Session) -> None:
        task = asyncio.create_task(session.close(), name="close a session with an upstream MCP server")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _discarded(self, session: Session | None) -> None:
        if session is not None:
            await session.close()


class SessionUse:
    """One use of a session, from its beginning to its end (`async with`). Beginning raises as Upstream.open does."""

    __slots__ = ("_access", "_kept", "_key", "_upstream", "_whose")

    def __init__(self, upstream: Upstream, key: _Key, access: Access, whose: str) -> None:
        self._upstream = upstream
        self._key = key
        self._access = access
        self._whose = whose
        self._kept: _Kept

    async def __aenter__(self) -> Session:
        kept = self._upstream.take(self._key)
        if kept is None:
            self._key, kept = await self._upstream.open(self._key, self._access, self._whose)
        self._kept = kept
        kept.users += 1
        return kept.session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._upstream.give_back(self._key, self._kept)


class McpUpstreams:
    """The upstream servers, by how they are reached. `rules`: which addresses may be called; an embedding program that
    registers its own tools trusts them. `environment`: of the gateway, of which programs get little."""

    def __init__(
        self,
        credentials: CredentialSource,
        *,
        rules: OutboundRules = ANYWHERE,
        resolver: HostResolver | None = None,
        clock: Clock | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.credentials = credentials
        self._http = Http1Client(rules, resolver, headers=HEADERS, max_connections=MAX_CONNECTIONS)
        self._tls = TlsContexts(credentials)
        self._clock = clock or SystemClock()
        self._environment = environment
        self._upstreams: dict[tuple[McpServer, TenantId | None, Authentication], Upstream] = {}

    def of(self, server: McpServer, tenant: TenantId | None, authentication: Authentication) -> Upstream:
        """The server as it is called with this authentication: sessions are shared by no two of them."""
        key = (server, tenant, authentication)
        upstream = self._upstreams.get(key)
        if upstream is None:
            upstream = self._upstreams[key] = Upstream(
                server, tenant, self.credentials, self._http, self._tls, self._clock, self._environment
            )
        return upstream

    async def close(self) -> None:
        """Afterwards a call opens sessions again."""
        upstreams, self._upstreams = [*self._upstreams.values()], {}
        await asyncio.gather(*(upstream.close() for upstream in upstreams))
        await self._http.close()
