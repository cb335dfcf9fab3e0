"""One pool of connections for all adapters, and the one place where errors of redis-py become errors of the gateway."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError
from stoa.domain.errors import InvalidInput, SharedStateUnavailable

MAX_CONNECTIONS = 32
TIMEOUT_SECONDS = 2.0

LOST = (RedisError, OSError)
"""What redis-py raises for a server that is away, slow, full, or of another mind about who may do what."""

Script = AsyncScript
Argument = str | bytes | int


@contextmanager
def translated() -> Generator[None]:
    """Raises SharedStateUnavailable, in words that repeat nothing of what the library says."""
    try:
        yield
    except LOST as lost:
        raise SharedStateUnavailable from lost


class RedisConnection:
    """`url`: `redis://[USER:PASSWORD@]HOST:PORT/DATABASE`, or `rediss:` for TLS. Nothing is connected before it is
    needed. `timeout_seconds`: for connecting, for one answer, and for a free connection.

    No command is tried twice: one that got no answer may have been carried out, and a message must not come twice.
    """

    def __init__(self, url: str, *, prefix: str = "stoa", timeout_seconds: float = TIMEOUT_SECONDS) -> None:
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

    def script(self, text: str) -> Script:
        """A Lua script: it runs as one step, undisturbed by other clients."""
        made: Script = self.client.register_script(text)
        return made

    async def run(self, script: Script, *arguments: Argument) -> Any:
        with translated():
            return await script(args=[self.prefix, *arguments])

    async def close(self) -> None:
        with translated():
            await self.client.aclose(close_connection_pool=True)
