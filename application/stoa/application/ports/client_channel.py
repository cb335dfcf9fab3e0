"""The way back from a running call to the client that made it.

A door opens one channel for each call that has a way back. Every channel carries one-way messages (progress, log).
Client requests (MCP "Client features": sampling, elicitation, roots) need one of two kinds on top of that:

    WaitingClientChannel   `ask` sends them and waits for the answers (handshake era, library)
    RoundClientChannel     `collect` reads the answers that came with the request (stateless era); what is not
                           answered ends the round

The pipeline governs client requests (`application.client_requests`), so a back end gets the channel for messages and
GovernedClientRequests for requests that the client must answer.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from stoa.domain.client_requests.client_request import ClientAnswer, ClientCapabilities, ClientRequest, LogLevel


class ClientChannel(Protocol):
    """Laws:

    - A channel belongs to one call: what is sent reaches the caller of that call only, and answers are that caller's.
    - Progress that reaches the client strictly increases, and stops when its total is reached; a value that does not
      increase is dropped. Too many in too short a time may be dropped, but not the first nor the one that reaches the
      total.
    - `progress` and `log` do not fail when the client wants no messages or is gone; the message is dropped.
    """

    @property
    @abstractmethod
    def capabilities(self) -> ClientCapabilities: ...

    @abstractmethod
    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None: ...

    @abstractmethod
    async def log(self, level: LogLevel, data: Any, logger: str | None = None) -> None:
        """Send a log message; `data` is any JSON value, without secrets."""
        ...

    @abstractmethod
    async def hang_up(self) -> None:
        """Close the connection while the call goes on, if the client knows to come back for the rest; otherwise this
        does nothing."""
        ...

    @abstractmethod
    async def begin_task(self) -> bool:
        """Answer the caller now and go on in the background, if the client can ask for tasks. True: the call is a task
        from here on; progress and log messages become its status, client requests wait in it. Raises TasksUnavailable
        or QuotaExceeded, which the tool should not catch."""
        ...

    @abstractmethod
    async def elicitation_done(self, elicitation_id: str) -> None:
        """Send `notifications/elicitation/complete` if the client's revision has it (2025-11-25); otherwise, and for an
        id that this call did not send, this does nothing."""
        ...


@runtime_checkable
class WaitingClientChannel(ClientChannel, Protocol):
    """Laws:

    - Nothing is sent that `capabilities` does not declare: `ask` raises ClientCapabilityMissing before anything is
      sent. An undeclared part that the request may do without is left out (`ClientCapabilities.fitted`).
    - Every answer fits its request: one for each key, of its kind, a form by its schema.
    - When `ask` is cancelled or fails, none of its requests is open any more.
    """

    @abstractmethod
    async def ask(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        """Send all of these at once and wait for the answers, by key. Raises ClientRequestDeclined for an error and for
        an answer that does not fit, BackendTimedOut if the client does not answer at all."""
        ...


@runtime_checkable
class RoundClientChannel(ClientChannel, Protocol):
    """Laws: nothing is sent, and every answer fits the request of its key."""

    @abstractmethod
    async def collect(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        """The answers that the client brought, by key; a key without one is left out. Raises InvalidState or
        SharedStateUnavailable when the answers of earlier rounds cannot be read, ClientRequestDeclined for a request
        that must not be sent again."""
        ...


class GovernedClientRequests(Protocol):
    """Client requests of one call, as its back end makes them: permitted, limited and metered."""

    @abstractmethod
    async def send(self, requests: Mapping[str, ClientRequest]) -> Mapping[str, ClientAnswer]:
        """The client's answers, by key. A key must be the same whenever the call is repeated.

        Raises ClientRequestRefused, QuotaExceeded, PolicyUnavailable, LimiterUnavailable or MeteringUnavailable when
        the gateway does not let the requests pass, ClientCapabilityMissing, ClientRequestDeclined or BackendTimedOut
        when the client does not answer, and InputRequired, which the back end lets pass, when it answers with its next
        request.
        """
        ...
