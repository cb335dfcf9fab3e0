"""The wire format in which tasks are stored and shown."""

from abc import abstractmethod
from typing import Any, Protocol

from stoa.domain.calls.invocation import Outcome
from stoa.domain.calls.task import TaskError
from stoa.domain.client_requests.client_request import ClientAnswer, ClientRequest
from stoa.domain.errors import StoaError
from stoa.domain.schema.json_value import JsonObject


class TaskDoor(Protocol):
    """Writes and reads the parts of a task as the door that has tasks shows them."""

    @abstractmethod
    def result(self, outcome: Outcome) -> JsonObject:
        """The result of the call. Raises StoaError where the call would have been answered with an error."""
        ...

    @abstractmethod
    def error(self, error: StoaError) -> TaskError: ...

    @abstractmethod
    def client_request(self, request: ClientRequest) -> JsonObject: ...

    @abstractmethod
    def fits(self, client_request: JsonObject, answer: Any) -> bool:
        """True when `answer` answers a request that `client_request` wrote."""
        ...

    @abstractmethod
    def answer(self, request: ClientRequest, answer: Any) -> ClientAnswer | None:
        """The answer as a value; None when it does not fit."""
        ...
