"""The metering event: the record of a finished invocation, with its charge."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer
from pydantic_core import from_json, to_json

from stoa.domain.metering.money import MicroUnits, from_json_number, to_json_number
from stoa.domain.schema.json_value import is_object

NO_TENANT = "-"
"""`tenant` of an event whose caller has none or is unknown; no tenant can have this name."""
NO_USER = "-"
UNKNOWN_NAME = "(unknown)"
"""`tool` of an event about an operation that its caller cannot see or that does not exist; no operation can have this
name. Callers must not decide how many names there are."""
OTHER_NAMES = "(other)"
"""Replaces the names beyond those that are counted separately."""


class Status(StrEnum):
    """The end of an invocation."""

    SUCCESS = "success"
    ERROR = "error"
    """The back end was called and the result is an error, or the gateway failed."""
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    UNAUTHORIZED = "unauthorized"
    """The caller is not authenticated, or not permitted."""
    INVALID = "invalid"
    """The caller's view holds no such tool, or its arguments were refused."""
    CANCELLED = "cancelled"
    INPUT_REQUIRED = "input_required"
    """A round ended with client requests; the call goes on when they are answered."""


CHARGED = frozenset({Status.SUCCESS, Status.ERROR, Status.TIMEOUT, Status.CANCELLED})
"""Outcomes that cost something once the back end was called; refusals and rounds that end with a client request are
free."""


CostUnits = Annotated[
    MicroUnits,
    PlainSerializer(to_json_number, return_type=float, when_used="json"),
]
"""Micro-units in memory, cost units in JSON."""


class MeteringEvent(BaseModel):
    """One finished invocation, one client request of it, or several refused invocations together. Never holds argument
    values, results or credentials."""

    # The docstrings below the fields are part of the published schema: stoa.application.metering.event_schema.
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    event_id: str = Field(min_length=1)
    """Unique. The same event may arrive twice on a topic; consumers recognise it by this id."""
    timestamp: AwareDatetime
    """The time at which the invocation finished, UTC."""
    tenant: str = Field(min_length=1, max_length=64)
    """The caller's tenant; `-` when it has none or is unknown."""
    project: str | None = None
    """The API behind the tool."""
    consumer: str = Field(default="unknown", max_length=128)
    """The calling application, as it names itself (`X-Consumer-ID`)."""
    user_id: str = Field(min_length=1)
    """The caller's subject at its identity provider; `-` when it is unknown."""
    tool: str = Field(min_length=1, max_length=128)
    """The operation's name: `NAME` of a tool, `resource:URI`, `prompt:NAME`; for a client request `sampling:TOOL`,
    `elicitation:TOOL`, `roots:TOOL`, with the `request_id` of its call. `(unknown)`: its caller sees nothing of that
    name; `(other)`: of several."""
    latency_ms: int = Field(ge=0)
    """From the request's arrival to its end, in milliseconds."""
    status: Status
    """The end of the invocation."""
    calls: int = Field(default=1, ge=1)
    """The number of refused invocations that this event stands for: more than one where there were too many to record
    each, and for callers that were never authenticated. Then their differing members are absent, `timestamp` is the
    time of writing and `metadata.since` the end of the first of them. All other events stand for one."""
    cost_units: CostUnits = MicroUnits(0)
    """The charge in cost units, with at most six decimals."""
    request_id: str | None = None
    """The caller's id of the request, else one that the gateway made."""
    metadata: dict[str, str] = {}
    """Further facts. `cut`: texts of this event were too long and have been truncated."""

    @property
    def kind(self) -> "EventKind | None":
        """The kind that the event was made of, if it was made of one."""
        heading = heading_of(self)
        return None if heading is None else heading[0]

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, which is of no kind: what differs in it may be what the kind says."""
        copied = super().model_copy(update=update, deep=deep)
        vars(copied).pop("_heading", None)
        return copied

    @classmethod
    def from_json(cls, line: bytes | str) -> "MeteringEvent":
        """Read back what `model_dump_json` wrote. Raises ValueError."""
        return cls.from_fields(from_json(line))

    @classmethod
    def from_fields(cls, fields: Any) -> "MeteringEvent":
        """Inverse of `model_dump_json` for JSON that is parsed already. Raises ValueError."""
        cost: Any = fields.get("cost_units") if is_object(fields) else None
        if type(cost) not in (int, float):  # Python counts true as an int
            raise ValueError("not a metering event: a JSON object with the number cost_units")
        return cls.model_validate({**fields, "cost_units": from_json_number(cost)})


class EventKind:
    """The part of an event about its caller, its operation and its end. Many calls share it, so it is validated
    once, and logs keep what they wrote of it under it: it is compared by identity."""

    __slots__ = ("consumer", "metadata", "project", "status", "tenant", "tool", "user_id")

    def __init__(self, event: MeteringEvent) -> None:
        """The kind of a valid event that stands for one call."""
        self.tenant = event.tenant
        self.project = event.project
        self.consumer = event.consumer
        self.user_id = event.user_id
        self.tool = event.tool
        self.status = event.status
        self.metadata = event.metadata

    def event(
        self, event_id: str, timestamp: datetime, latency_ms: int, cost_units: MicroUnits, request_id: str
    ) -> MeteringEvent:
        """An event of this kind, equal to the one that validation would make: everything that comes from outside is in
        the kind or made by the gateway."""
        event: MeteringEvent = _new(MeteringEvent)
        id_json = to_json(event_id)
        request_json = id_json if request_id is event_id else to_json(request_id)
        # In the order of the fields, in which they are written.
        members: dict[str, Any] = {
            "event_id": event_id,
            "timestamp": timestamp,
            "tenant": self.tenant,
            "project": self.project,
            "consumer": self.consumer,
            "user_id": self.user_id,
            "tool": self.tool,
            "latency_ms": latency_ms,
            "status": self.status,
            "calls": 1,
            "cost_units": cost_units,
            "request_id": request_id,
            "metadata": self.metadata.copy(),
            "_heading": (self, id_json, to_json(timestamp), request_json),
        }
        _SET_MEMBERS(event, members)
        _SET_FIELDS(event, _SET)
        _SET_EXTRA(event, None)
        _SET_PRIVATE(event, None)
        return event


Heading = tuple[EventKind, bytes, bytes, bytes]
"""The kind of an event, and as JSON what differs from others of its kind: `event_id`, `timestamp`, `request_id`. It is
encoded once for all logs."""


def heading_of(event: MeteringEvent) -> Heading | None:
    """The heading of an event that was made of a kind; None: it was not."""
    heading: Heading | None = event.__dict__.get("_heading")
    return heading


_new: Any = object.__new__
_SET = set(MeteringEvent.model_fields) - {"calls"}
_SET_MEMBERS, _SET_FIELDS, _SET_EXTRA, _SET_PRIVATE = (
    BaseModel.__dict__[name].__set__
    for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)
