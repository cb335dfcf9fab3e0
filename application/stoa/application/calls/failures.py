"""Failures of a call: the answer that its caller gets, and the status of its metering event."""

import logging

from stoa.application.calls.running_calls import RunningCall
from stoa.application.calls.stages import Answered, Sent
from stoa.domain.client_requests.client_request import InputRequired
from stoa.domain.errors import (
    BackendProtocolError,
    BackendTimedOut,
    BackendUnavailable,
    ClientCapabilityMissing,
    ClientRequestDeclined,
    InvalidArguments,
    InvalidState,
    NotAuthenticated,
    NotPermitted,
    OperationNotFound,
    QuotaExceeded,
    StoaError,
    TaskChanged,
    UpstreamAccessDenied,
)
from stoa.domain.metering.event import Status
from stoa.domain.results.result import ToolResult

_log = logging.getLogger(__name__)

_REFUSAL_STATUS: tuple[tuple[type[StoaError], Status], ...] = (
    (NotAuthenticated, Status.UNAUTHORIZED),
    (NotPermitted, Status.UNAUTHORIZED),
    (UpstreamAccessDenied, Status.UNAUTHORIZED),
    (OperationNotFound, Status.INVALID),
    (QuotaExceeded, Status.RATE_LIMITED),
    (InvalidArguments, Status.INVALID),
    (InvalidState, Status.INVALID),
    (TaskChanged, Status.INVALID),
    (ClientCapabilityMissing, Status.INVALID),
    (ClientRequestDeclined, Status.ERROR),
)


def answered_failure(call: RunningCall, failure: Exception) -> Answered:
    """The end of a call that raised `failure`. The failure of a back end is an answer: an error result."""
    if isinstance(failure, StoaError):
        failure.without_traceback()  # it is part of the outcome, which the frames of the call refer to
    stage = call.stage
    if isinstance(stage, Sent) and _is_unsent(failure):
        stage = stage.reserved  # so it is free
    match failure:
        case BackendTimedOut():
            return Answered(stage, Status.TIMEOUT, ToolResult.error(f"{failure.message} [{failure.code}]"))
        case BackendUnavailable() | BackendProtocolError():
            return Answered(stage, Status.ERROR, ToolResult.error(f"{failure.message} [{failure.code}]"))
        case InputRequired():
            return Answered(stage, Status.INPUT_REQUIRED, client_requests=failure.requests)
        case StoaError():
            status = next((status for kind, status in _REFUSAL_STATUS if isinstance(failure, kind)), Status.ERROR)
            return Answered(stage, status, error=failure)
        case _:
            _log.error("call of a tool failed unexpectedly", extra={"request_id": call.event_id}, exc_info=failure)
            hidden = StoaError(f"Internal error; quote {call.event_id} when reporting it")
            return Answered(stage, Status.ERROR, error=hidden)


def _is_unsent(failure: Exception) -> bool:
    return isinstance(failure, (BackendUnavailable, BackendTimedOut)) and failure.nothing_was_sent
