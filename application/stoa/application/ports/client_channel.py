"""The way back from a running call to the client that made it."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

from stoa.domain.client_requests.client_request import ClientAnswer, ClientCapabilities, ClientRequest, LogLevel


class ClientChannel(Protocol):
    """Laws:

    - It belongs to one call: what is sent reaches the caller of that call only, and answers are that caller's only.
    - Nothing is asked for that `capabilities` does not declare: `ask` raises ClientCapabilityMissing before anything
    is sent. A
      wish that is not declared and that the question may do without is left out (`ClientCapabilities.fitted`).
    - Progress that reaches the client strictly increases, and stops when its total is reached; a value that does not
      increase is dropped. Too many in too short a time may be dropped, but not the first nor the one that reaches the
      total.
    - `progress` and `log` never fail because the client does not want to hear or is gone; they are dropped.
    - Every answer that `ask` returns fits its request: one for each key, of its kind, a form by its schema.

    - When `ask` is cancelled or fails, no question of it is open any more.

    `ask` raises InputRequired where the answers come with another request (the stateless era), ClientRequestDeclined
    when the
    client answers with an error or what does not fit, BackendTimedOut when it does not answer at all.
    """

    @property
    @abstractmethod
    def capabilities(self) -> ClientCapabilities: ...

    @property
    @abstractmethod
    def asks_by_rounds(self) -> bool:
        """True: `ask` sends nothing; unanswered questions end the round, with InputRequired. False: `ask` sends the
        questions, and waits for the answers."""
        ...

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
    async def elicitation_done(self, elicitation_id: str) -> None:
        """Tell the client that what it opened a page for is done, where its revision has that (2025-11-25); elsewhere,
        and for an id that this call did not ask about, this does nothing."""
        ...

    @abstractmethod
    async def ask(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        """Ask all of these at once; a key names its question, and must be the same whenever the call is repeated."""
        ...
