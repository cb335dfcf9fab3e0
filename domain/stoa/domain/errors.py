"""All errors of the gateway that a caller may see, as one tree.

    StoaError
    ├─ InvalidInput               the caller can fix it
    │  ├─ InvalidArguments        the arguments do not satisfy the tool's input schema
    │  ├─ InvalidState            the state that a client must return unchanged was changed, or is too old
    │  ├─ TaskNotFound            unknown, expired or another caller's: one answer for all
    │  ├─ TaskChanged             another process was first to change it
    │  ├─ ClientCapabilityMissing the call needs a capability that the client did not declare
    │  └─ ClientRequestDeclined   the client did not give what it was asked for
    ├─ NotAuthenticated
    ├─ NotPermitted               carries the decision
    ├─ ClientRequestRefused       the call may not make this client request; nothing was sent
    ├─ UpstreamAccessDenied       the back end's authorization server gives this caller no access
    ├─ OperationNotFound          unknown, or invisible to this caller: one answer for both
    │  └─ ResourceNotFound  PromptNotFound
    ├─ QuotaExceeded              carries the time after which to try again
    │  └─ BudgetExhausted         the month's budget does not suffice for the call
    └─ Unavailable                a dependency of the call could not answer
       ├─ SessionsFull            no more sessions can be opened now
       ├─ ShuttingDown            the process ends, and the call was not over in time
       ├─ TaskInterrupted         the runner of a task went away before it ended
       ├─ IdentityUnavailable  PolicyUnavailable  LimiterUnavailable  BudgetUnavailable  MeteringUnavailable
       │  TasksUnavailable
       │                          governing parts: the call is refused
       ├─ PublisherUnavailable    metering events are not forwarded now; no call sees it
       ├─ BackendUnavailable  BackendTimedOut  BackendProtocolError
       │  └─ ResourceUnreadable   the back end: the call finished, with an error result
       └─ ContentUnavailable      a resource or prompt has no content: their answers have no form for errors

A message is safe to show to the caller: it never holds a secret or a library's own text. A tool that ran and reported a
failure is a result (`ToolResult.is_error`), not an exception. The doors map classes to status codes in one table
(`stoa.interfaces.wire.errors`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Self

from stoa.domain.access.rate_limit import LimitVerdict
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.operations.operation import Kind
from stoa.domain.policy.decision import Decision

_REASONS = {reason.value: reason for reason in RefusalReason}


class StoaError(Exception):
    """Base of all errors that a caller may see.

    `code` is stable and machine readable; `message` is for people.
    """

    code: ClassVar[str] = "internal"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def without_traceback(self) -> Self:
        """The error without the frames that it came through, and of what led to it. An error that is kept as a value
        refers to these frames, and they to it: megabytes of arguments would stay until the garbage collector runs,
        which then stops all calls for milliseconds."""
        cause: BaseException | None = self
        while cause is not None and cause.__traceback__ is not None:
            cause.__traceback__ = None
            cause = cause.__context__
        return self

    @property
    def refusal_reason(self) -> RefusalReason:
        """The reason of the refusal, for metrics and logs: that of the nearest base class that has one."""
        codes = (getattr(kind, "code", "") for kind in type(self).__mro__)
        return next(_REASONS[code] for code in codes if code in _REASONS)


class InvalidInput(StoaError):
    """The request cannot be understood; the message says what to change."""

    code = "invalid_input"


@dataclass(frozen=True, slots=True)
class Violation:
    """One offending value: its place (JSON Pointer, RFC 6901; "" is the root) and what was expected."""

    path: str
    expected: str


class InvalidArguments(InvalidInput):
    """The arguments do not satisfy the tool's input schema."""

    code = "invalid_arguments"

    def __init__(self, violations: Sequence[Violation]) -> None:
        listed = "; ".join(f"{v.path or '(root)'}: {v.expected}" for v in violations)
        super().__init__(f"Invalid arguments: {listed}")
        self.violations = tuple(violations)


class BodyTooLarge(InvalidInput):
    """The body of a request is larger than the gateway reads."""

    code = "body_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The body is larger than {limit_bytes} bytes")


class UnsupportedCoding(InvalidInput):
    """The body of a request has a content coding that the gateway does not decode (RFC 9110 section 8.4.1)."""

    code = "unsupported_coding"

    def __init__(self) -> None:
        super().__init__("The body's Content-Encoding is not understood; send gzip, deflate or none")


class InvalidState(InvalidInput):
    """The state of an earlier round was not sealed by this gateway, belongs to another caller or call, or has expired.
    All have the same answer, which does not show which it was."""

    code = "invalid_request_state"

    def __init__(self) -> None:
        super().__init__("Invalid or expired requestState")


class TaskNotFound(InvalidInput):
    """This caller has no such task."""

    code = "task_not_found"

    def __init__(self) -> None:
        super().__init__("Unknown or expired task")


class TaskChanged(InvalidInput):
    """Another request or process changed the task first."""

    code = "task_changed"

    def __init__(self) -> None:
        super().__init__("The task has changed meanwhile; ask for it again")


class ClientCapabilityMissing(InvalidInput):
    """The call needs a client request that the client did not declare to take."""

    code = "client_cannot"

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__(f"The client must support {', '.join(missing)} for this call")
        self.missing = tuple(missing)
        """Names of client capabilities; an extension of the protocol by its identifier."""


class ClientRequestDeclined(InvalidInput):
    """The client answered a client request with an error, or with something that does not fit it."""

    code = "client_refused"

    def __init__(self, question: str) -> None:
        super().__init__(f"The client did not answer the question {question!r} as it has to")


class NotAuthenticated(StoaError):
    """The credential is absent or invalid. `is_missing` separates the two (RFC 6750 section 3.1)."""

    code = "not_authenticated"

    def __init__(
        self, message: str, *, is_missing: bool = False, reason: RefusalReason = RefusalReason.NOT_AUTHENTICATED
    ) -> None:
        super().__init__(message)
        self.is_missing = is_missing
        self.client: str | None = None
        """The OAuth client that the token names; set only for a token whose signature is valid."""
        self._reason = RefusalReason.MISSING_TOKEN if is_missing else reason

    @property
    def refusal_reason(self) -> RefusalReason:
        return self._reason


class NotPermitted(StoaError):
    """The policy denied the call to a caller who may know that the tool exists."""

    code = "not_permitted"

    def __init__(self, decision: Decision, *, is_missing_right: bool = False) -> None:
        """`is_missing_right`: the caller lacks the scope that the operation needs, independent of the policy's other
        rules."""
        super().__init__(f"Not permitted: {decision.reason}")
        self.decision = decision
        self.is_missing_right = is_missing_right or bool(decision.missing_scopes)

    @property
    def refusal_reason(self) -> RefusalReason:
        return RefusalReason.MISSING_SCOPE if self.is_missing_right else RefusalReason.NOT_PERMITTED


class ClientRequestRefused(StoaError):
    """The call may not make this client request: the policy denies it, or the call made too many. Nothing was sent; the
    function that asks may go on without."""

    code = "question_refused"

    def __init__(self, reason: str, decision: Decision | None = None) -> None:
        super().__init__(f"The client may not be asked: {reason}")
        self.decision = decision


class UpstreamAccessDenied(StoaError):
    """The tool acts in the caller's name at its back end, and no access token for that can be obtained."""

    code = "upstream_access_denied"


class OperationNotFound(StoaError):
    """The caller's view holds no such tool."""

    code = "tool_not_found"
    kind: ClassVar[Kind] = "tool"

    def __init__(self, name: str) -> None:
        super().__init__(f"Unknown {self.kind}: {name}")
        self.name = name


class ResourceNotFound(OperationNotFound):
    """The caller's view holds no such resource; `name` is its URI."""

    code = "resource_not_found"
    kind = "resource"


class PromptNotFound(OperationNotFound):
    """The caller's view holds no such prompt."""

    code = "prompt_not_found"
    kind = "prompt"


def not_found(kind: Kind, name: str) -> OperationNotFound:
    match kind:
        case "tool":
            return OperationNotFound(name)
        case "resource":
            return ResourceNotFound(name)
        case "prompt":
            return PromptNotFound(name)


class QuotaExceeded(StoaError):
    """A rate limit is used up; `retry_after_seconds` is the earliest useful moment to try again."""

    code = "rate_limited"

    def __init__(
        self,
        limit_name: str,
        retry_after_seconds: float,
        verdict: LimitVerdict | None = None,
        reason: RefusalReason | None = None,
    ) -> None:
        super().__init__(f"Rate limit exceeded ({limit_name}); retry in {retry_after_seconds:.1f} s")
        self.limit_name = limit_name
        self.retry_after_seconds = retry_after_seconds
        self.verdict = verdict
        """None when the quota is not a rate limit."""
        self._reason = reason

    @property
    def refusal_reason(self) -> RefusalReason:
        return self._reason or super().refusal_reason


class BudgetExhausted(QuotaExceeded):
    """The rest of the month's budget does not suffice for the most that the call may cost."""

    code = "budget_exhausted"

    def __init__(self, whose: str, begins_anew: datetime, retry_after_seconds: float) -> None:
        super().__init__("budget", retry_after_seconds)
        self.message = (
            f"The monthly budget of {whose} does not suffice for this call; a new one begins on {begins_anew:%Y-%m-%d}"
        )
        self.args = (self.message,)


class Unavailable(StoaError):
    """A dependency could not answer."""

    code = "unavailable"


class SessionsFull(Unavailable):
    """The server has as many sessions as it can keep."""

    code = "sessions_full"

    def __init__(self) -> None:
        super().__init__("The server cannot open more sessions at the moment")


class ShuttingDown(Unavailable):
    """The process ends, and has waited for the call as long as it may. How far the call came is unknown."""

    code = "shutting_down"

    def __init__(self) -> None:
        super().__init__(
            "The gateway is shutting down and did not wait for this call any longer: it may have taken effect in "
            "part. Look what it did before you call again"
        )


class BodiesFull(Unavailable):
    """The bodies of requests in progress take so many bytes that no further large one is read."""

    code = "bodies_full"

    def __init__(self) -> None:
        super().__init__("The gateway is reading too many large requests; try again in a moment")


class SharedStateUnavailable(Unavailable):
    """The state that replicas share (sessions, streams, messages to each other) cannot be reached now."""

    code = "shared_state_unavailable"

    def __init__(self) -> None:
        super().__init__("The gateway cannot reach its sessions at the moment")


class IdentityUnavailable(Unavailable):
    """Tokens cannot be verified now."""

    code = "identity_unavailable"


class PolicyUnavailable(Unavailable):
    """No decision can be made now, so the call is denied."""

    code = "policy_unavailable"


class LimiterUnavailable(Unavailable):
    """The rate limit cannot be checked now."""

    code = "limiter_unavailable"


class BudgetUnavailable(Unavailable):
    """Budgets cannot be checked now, so calls that have one are refused."""

    code = "budget_unavailable"

    def __init__(self) -> None:
        super().__init__("Budgets cannot be checked at the moment")


class MeteringUnavailable(Unavailable):
    """The metering event of a call could not be kept, so calls are refused."""

    code = "metering_unavailable"


class PublisherUnavailable(Unavailable):
    """Metering events cannot be forwarded now. They wait where they were recorded, and calls go on."""

    code = "publisher_unavailable"


class TasksUnavailable(Unavailable):
    """Tasks can be neither stored nor found now, so none is begun."""

    code = "tasks_unavailable"


class TaskInterrupted(Unavailable):
    """The runner of the task went away before the call ended. How far it came is unknown, so it is not run again."""

    code = "task_interrupted"

    def __init__(self) -> None:
        super().__init__(
            "The gateway stopped before this call ended, and does not repeat it: it may have taken effect in part. "
            "Look what it did before you call the tool again"
        )


class BackendUnavailable(Unavailable):
    """The tool's back end could not be reached."""

    code = "backend_unavailable"

    def __init__(self, message: str, *, nothing_was_sent: bool = False) -> None:
        """`nothing_was_sent`: the back end has certainly received nothing of the call, which is then free; otherwise
        the call may have taken effect."""
        super().__init__(message)
        self.nothing_was_sent = nothing_was_sent


class BackendTimedOut(Unavailable):
    """The tool's back end did not answer before the deadline."""

    code = "backend_timeout"

    def __init__(self, message: str, *, nothing_was_sent: bool = False) -> None:
        """`nothing_was_sent`: as for BackendUnavailable."""
        super().__init__(message)
        self.nothing_was_sent = nothing_was_sent


class BackendProtocolError(Unavailable):
    """The answer of the tool's back end violates its protocol."""

    code = "backend_protocol_error"


class ResourceUnreadable(BackendUnavailable):
    """A function could not read a resource; `reason` is how that read ended."""

    code = "resource_unreadable"

    def __init__(self, reason: StoaError) -> None:
        super().__init__(reason.message)
        self.reason = reason


class ContentUnavailable(Unavailable):
    """A resource or prompt has no content now; the message is what its back end reported."""

    code = "content_unavailable"


BackendError = BackendUnavailable | BackendTimedOut | BackendProtocolError
