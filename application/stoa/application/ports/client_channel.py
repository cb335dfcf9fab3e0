"""The way back from a running call to the client that made it."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

from stoa.domain.dialogue import ClientCapabilities, InputAnswer, InputRequest, LogLevel


class ClientChannel(Protocol):
    """Laws:

    - It belongs to one call: what is sent reaches the caller of that call only, and answers are that caller's only.
    - Nothing is asked for that `capabilities` does not declare: `ask` raises ClientCannot before anything is sent.
    - Progress that reaches the client strictly increases; a value that does not is dropped.
    - `progress` and `log` never fail because the client does not want to hear or is gone; they are dropped.
    - Every answer that `ask` returns fits its request: one for each key, of its kind, a form by its schema.

    `ask` raises InputRequired where the answers come with another request (the stateless era), ClientRefused when the
    client answers with an error or what does not fit, BackendTimedOut when it does not answer at all.
    """

    @property
    @abstractmethod
    def capabilities(self) -> ClientCapabilities: ...

    @abstractmethod
    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None: ...

    @abstractmethod
    async def log(self, level: LogLevel, data: Any, logger: str | None = None) -> None:
        """`data` is any JSON value, without secrets."""
        ...

    @abstractmethod
    async def hang_up(self) -> None:
        """Close the connection while the call goes on, where the client knows to come back for the rest; elsewhere this
        does nothing."""
        ...

    @abstractmethod
    async def begin_task(self) -> bool:
        """Answer the caller now and go on in the background, where the client can ask for tasks. True: the call is a
        task from here on; progress and log messages become its status, questions wait in it. Raises TasksUnavailable
        or QuotaExceeded, which is not for the tool to catch."""
        ...

    @abstractmethod
    async def ask(self, requests: Mapping[str, InputRequest]) -> Mapping[str, InputAnswer]:
        """Ask all of these at once; a key names its question, and must be the same whenever the call is repeated."""
        ...
