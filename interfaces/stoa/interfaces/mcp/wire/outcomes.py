"""Results and errors of a tools/call: some refusals are results, so that the model reads them and corrects its call."""

from stoa.domain.calls.invocation import Outcome
from stoa.domain.errors import (
    ClientCapabilityMissing,
    ClientRequestDeclined,
    ClientRequestRefused,
    InvalidArguments,
    NotPermitted,
    StoaError,
    UpstreamAccessDenied,
)
from stoa.domain.results.result import ToolResult
from stoa.interfaces.wire.revisions import Revision


def result_of(outcome: Outcome, revision: Revision, *, has_arguments: bool = True) -> ToolResult:
    """The result of an outcome. `has_arguments`: the arguments were an object. Raises StoaError for an outcome that is
    an error of the request."""
    error = outcome.error
    if error is None and outcome.result is not None:
        return outcome.result
    if isinstance(error, InvalidArguments) and has_arguments:
        return ToolResult.error(error.message)  # a result, so that the model reads it and corrects the call
    if isinstance(error, UpstreamAccessDenied) or (isinstance(error, NotPermitted) and not error.is_missing_right):
        return ToolResult.error(error.message)  # no other credential would help
    if isinstance(error, (ClientRequestDeclined, ClientRequestRefused)) or (
        isinstance(error, ClientCapabilityMissing) and not revision.is_stateless
    ):
        return ToolResult.error(error.message)
    raise error or StoaError("Internal error")
