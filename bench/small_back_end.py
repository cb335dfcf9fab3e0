"""A back end that costs next to nothing: `python -m bench.small_back_end PORT` answers every request on 127.0.0.1 with
one and the same item. It is a process of its own, so that what it does is not counted with a call."""

import asyncio
import json
import sys

from bench import upstream
from bench.wire import NUMBER

_BODY = json.dumps(upstream.expected(NUMBER, f"lamp-{NUMBER}"), separators=(",", ":")).encode()
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self._read = (self._read + data).split(b"\r\n\r\n")  # a GET has no body
        if requests:
            self._transport.write(_ANSWER * len(requests))  # type: ignore[attr-defined]


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
