"""What is recorded and charged for a finished invocation."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from stoa.domain.money import MicroUnits, from_decimal, to_json_number

NO_TENANT = "-"
"""`tenant` of an event whose caller has none or is unknown; no tenant can be called so."""
NO_USER = "-"


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
    """One finished invocation, or one question that it asked its client. Never holds argument values, results or
    credentials."""

    model_config = ConfigDict(frozen=True)

    event_id: str = Field(min_length=1)
    timestamp: datetime
    """When the invocation finished, UTC."""
    tenant: str = Field(min_length=1, max_length=64)
    project: str | None = None
    """The API behind the tool."""
    consumer: str = Field(default="unknown", max_length=128)
    """The calling application, as it names itself (`X-Consumer-ID`)."""
    user_id: str = Field(min_length=1)
    tool: str = Field(min_length=1, max_length=128)
    """Its name; `resource:URI`, `prompt:NAME`; of a question `sampling:TOOL`, `elicitation:TOOL`, `roots:TOOL`, with
    the `request_id` of its call."""
    latency_ms: int = Field(ge=0)
    status: Status
    cost_units: CostUnits = MicroUnits(0)
    request_id: str | None = None
    metadata: dict[str, str] = {}

    @classmethod
    def from_json(cls, line: bytes | str) -> "MeteringEvent":
        """Read back what `model_dump_json` wrote. Raises ValueError."""
        fields: Any = pydantic_core.from_json(line)
        match fields:
            # A JSON number has a shortest exact form, see stoa.domain.money; Python counts true as an int.
            case {"cost_units": int() | float() as cost} if not isinstance(cost, bool):
                return cls.model_validate({**fields, "cost_units": from_decimal(Decimal(str(cost)))})
            case _:
                raise ValueError("not a metering event: a JSON object with the number cost_units")
