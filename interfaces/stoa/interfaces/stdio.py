"""The client of `stoa stdio` until the gateway is there: its connection, greeted before anything else is imported.

This is composition, as `bootstrap` is, but apart from it: importing `bootstrap` takes a second, in which clients would
get no answer (docs/decisions/0013, tests/interfaces/test_start_up_imports.py).
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from stoa.interfaces.mcp.transports.stdio_connection import StdioConnection as StdioConnection
from stoa.interfaces.mcp.wire.introduction import Introduction
from stoa.interfaces.release import release


@contextmanager
def client_connection(*, is_greeted: bool, reason_of: Callable[[Exception], str]) -> Generator[StdioConnection]:
    """The connection to the program that started this process. `is_greeted`: answer its first messages at once, until
    the gateway takes over. When the gateway fails to start, requests that wait are refused with the `reason_of` the
    exception."""
    with StdioConnection() as connection:
        try:
            if is_greeted:
                connection.greet(Introduction(release(), has_sessions=True))
            yield connection
        except Exception as caught:
            connection.give_up(reason_of(caught))
            raise
