"""What is recorded and charged for a finished invocation."""

from enum import StrEnum
from typing import Annotated, Any

import pydantic_core
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer

from stoa.domain.metering.money import MicroUnits, from_json_number, to_json_number
from stoa.domain.schema.json_value import is_object

NO_TENANT = "-"
"""`tenant` of an event whose caller has none or is unknown; no tenant can be called so."""
NO_USER = "-"
UNKNOWN_NAME = "(unknown)"
"""`tool` of an event about something that its caller cannot see or that is not there; nothing can be called so. How
many names there are must not be the callers' choice."""
OTHER_NAMES = "(other)"
"""Stands for names beyond those that are told apart."""


class Status(StrEnum):
    """How an invocation ended."""

    SUCCESS = "success"
    ERROR = "error"
    """The back end was called and the result is an error, or the gateway failed."""
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    UNAUTHORIZED = "unauthorized"
    """Not authenticated, or not permitted."""
    INVALID = "invalid"
    """No such tool for this caller, or its arguments were refused."""
    CANCELLED = "cancelled"
    INPUT_REQUIRED = "input_required"
    """A round ended with questions to the client; the call goes on when they are answered."""


CHARGED = frozenset({Status.SUCCESS, Status.ERROR, Status.TIMEOUT, Status.CANCELLED})
"""Outcomes that cost something once the back end was called; refusals and rounds that end with a question are free."""


CostUnits = Annotated[
    MicroUnits,
    PlainSerializer(to_json_number, return_type=float, when_used="json"),
]
"""Micro-units in memory, cost units in JSON."""


class MeteringEvent(BaseModel):
    """One finished invocation, or one question that it asked its client, or several refused invocations together. Never
    holds argument values, results or credentials."""

    # The docstrings below the fields are part of the published schema: stoa.application.metering.event_schema.
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    event_id: str = Field(min_length=1)
    """Unique; the same event may arrive twice on a topic, and is recognised by this."""
    timestamp: AwareDatetime
    """When the invocation finished, UTC."""
    tenant: str = Field(min_length=1, max_length=64)
    """The caller's; `-` when it has none or is unknown."""
    project: str | None = None
    """The API behind the tool."""
    consumer: str = Field(default="unknown", max_length=128)
    """The calling application, as it names itself (`X-Consumer-ID`)."""
    user_id: str = Field(min_length=1)
    """The caller's subject at its identity provider; `-` when it is unknown."""
    tool: str = Field(min_length=1, max_length=128)
    """Its name; `resource:URI`, `prompt:NAME`; of a question `sampling:TOOL`, `elicitation:TOOL`, `roots:TOOL`, with
    the `request_id` of its call. `(unknown)`: its caller sees nothing of that name; `(other)`: of several."""
    latency_ms: int = Field(ge=0)
    """From the request's arrival to its end, in milliseconds."""
    status: Status
    """How the invocation ended."""
    calls: int = Field(default=1, ge=1)
    """How many refused invocations this event stands for: more than one where there were too many to keep each, and
    those whose caller was never authenticated. Then what they differ in is not told, `timestamp` is when it was
    written and `metadata.since` when the first of them ended. All other events stand for one."""
    cost_units: CostUnits = MicroUnits(0)
    """What is charged, in cost units, with at most six decimals."""
    request_id: str | None = None
    """As the caller named its request, else made by the gateway."""
    metadata: dict[str, str] = {}
    """Further facts. `cut`: texts of this event were too long and have been cut."""

    @classmethod
    def from_json(cls, line: bytes | str) -> "MeteringEvent":
        """Read back what `model_dump_json` wrote. Raises ValueError."""
        return cls.from_fields(pydantic_core.from_json(line))

    @classmethod
    def from_fields(cls, fields: Any) -> "MeteringEvent":
        """The same from JSON that is parsed already. Raises ValueError."""
        cost: Any = fields.get("cost_units") if is_object(fields) else None
        if type(cost) not in (int, float):  # Python counts true as an int
            raise ValueError("not a metering event: a JSON object with the number cost_units")
        return cls.model_validate({**fields, "cost_units": from_json_number(cost)})
