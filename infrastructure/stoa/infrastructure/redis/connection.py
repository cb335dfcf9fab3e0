"""The connection pool of all Redis adapters, and the one place that translates errors of redis-py."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError, ResponseError
from stoa.application.concurrency.circuit_breaker import CircuitBreaker
from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.memory.clock import SystemClock
from stoa.domain.errors import InvalidInput, SharedStateUnavailable, StoaError

MAX_CONNECTIONS = 32
TIMEOUT_SECONDS = 2.0

LOST = (RedisError, OSError, RuntimeError, EOFError)
"""Errors of redis-py and the event loop for a server that is unreachable, slow, full, or refuses a command.
RuntimeError: uvloop's `the handler is closed`, for a connection that broke a moment ago."""

Script = AsyncScript
Argument = str | bytes | int


class RedisConnection:
    """A pool of connections to one server, which connects on first use. `url`:
    `redis://[USER:PASSWORD@]HOST:PORT/DATABASE`, or `rediss:` for TLS. `timeout_seconds`: for connecting, for one
    answer, and for a free connection. `breaker`: shared by all connections to one server.

    No command is tried twice: one that got no answer may have been carried out, and a message must not come twice.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "stoa",
        timeout_seconds: float = TIMEOUT_SECONDS,
        breaker: CircuitBreaker | None = None,
        report: ReportDefect = log_defect,
    ) -> None:
        try:
            pool = BlockingConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]  # its options are untyped
                url,
                max_connections=MAX_CONNECTIONS,
                timeout=timeout_seconds,
                socket_timeout=timeout_seconds,
                socket_connect_timeout=timeout_seconds,
                retry=Retry(NoBackoff(), 0),
                protocol=2,
            )
        except ValueError as bad:
            raise InvalidInput("REDIS_URL: write it as redis://HOST:PORT/DATABASE") from bad
        self.client: Any = Redis(connection_pool=pool)  # redis-py is typed in part only
        # Channels know no databases, so that of the keys is in their names.
        self.prefix = f"{prefix}:{pool.connection_kwargs.get('db') or 0}:"
        self.timeout_seconds = timeout_seconds
        self._report = report
        self.breaker = breaker or CircuitBreaker(SystemClock())
        self.breaker.add(self._probe)

    def script(self, text: str) -> Script:
        """A Lua script: it runs as one step, undisturbed by other clients."""
        script: Script = self.client.register_script(text)
        return script

    async def run(self, script: Script, *arguments: Argument) -> Any:
        with self.guarded():
            return await script(args=[self.prefix, *arguments])

    @contextmanager
    def guarded(self) -> Generator[None]:
        """Guards every request to the server. Raises SharedStateUnavailable for every failure, without repeating the
        library's text, and at once while the circuit breaker is open."""
        self.check()
        try:
            yield
        except StoaError:
            raise
        except LOST as lost:
            self._count(lost)
            raise SharedStateUnavailable from lost
        except Exception as defect:
            self._report("redis", defect)
            self._count(defect)
            raise SharedStateUnavailable from defect
        self.breaker.succeeded()

    def check(self) -> None:
        """Raises SharedStateUnavailable while the circuit breaker is open."""
        if self.breaker.is_open:
            raise SharedStateUnavailable

    async def close(self) -> None:
        await self.breaker.close()
        try:
            await self.client.aclose(close_connection_pool=True)
        except LOST as lost:
            raise SharedStateUnavailable from lost

    def _count(self, failure: Exception) -> None:
        if _is_answer(failure):
            self.breaker.succeeded()
        else:
            self.breaker.failed(type(failure).__name__)

    async def _probe(self) -> None:
        """Probes the server on a new connection, because an idle one may be broken without an error so far."""
        try:
            await self.client.connection_pool.disconnect(inuse_connections=False)
            await self.client.ping()
        except LOST as lost:
            if not _is_answer(lost):
                raise OSError from lost


def _is_answer(failure: Exception) -> bool:
    """True if the server is reachable and refused the command."""
    return isinstance(failure, ResponseError) and not isinstance(failure, ConnectionLost)
