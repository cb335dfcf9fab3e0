"""A response whose body is read as it comes, such as a stream of events."""

from types import TracebackType

from stoa.infrastructure.http_client.failures import ResponseTooLong
from stoa.infrastructure.http_client.http1.connection import MAX_BUFFERED_BYTES, Connection
from stoa.infrastructure.http_client.http1.pool import Pool
from stoa.infrastructure.http_client.http1.response import Response


class OpenResponse:
    """A response after its head. A context manager: leaving it before the end of the body closes the connection, which
    tells the peer; after it, the connection is kept. The caller keeps the deadline."""

    def __init__(self, head: Response, connection: Connection, pool: Pool) -> None:
        self.head = head
        """Its `body` stays empty."""
        self.status = head.status
        self._connection = connection
        self._pool = pool
        self._is_closed = False

    async def piece(self) -> bytes:
        """The next bytes of the body, as they come, PIECE_BYTES at most; empty at its end. The peer waits while they
        are not read. Raises HttpFailure, after what had come before it."""
        return await self._connection.piece()

    async def read(self, limit: int) -> bytes:
        """The whole body, at most `limit` bytes. Raises HttpFailure, ResponseTooLong as soon as it is known."""
        length = int(self.head.fields.get(b"content-length", b"-1"))  # checked by the parser: digits
        if length > limit:
            raise ResponseTooLong(f"more than {limit} bytes")
        body = await self._connection.piece(MAX_BUFFERED_BYTES)
        if len(body) == length:
            return body
        rest: list[bytes] = []
        size = len(body)
        while size <= limit and (content := await self._connection.piece(MAX_BUFFERED_BYTES)):
            rest.append(content)
            size += len(content)
        if size > limit:
            raise ResponseTooLong(f"more than {limit} bytes")
        return b"".join((body, *rest)) if rest else body

    def close(self) -> None:
        """Ends the response. A `piece` that waits raises ResponseCutShort."""
        if not self._is_closed:
            self._is_closed = True
            if self._connection.end_stream():
                self._pool.give_back(self._connection, self.head)

    async def __aenter__(self) -> "OpenResponse":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
