"""Failures of Kafka as a back end, in our words: what a broker answers is a value, what keeps it from answering an
error of the gateway."""

import struct
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from aiokafka import errors as kafka  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

from stoa.domain.errors import BackendError, BackendProtocolError, BackendTimedOut, BackendUnavailable
from stoa.infrastructure.http_client import ForbiddenAddress, NameNotResolved
from stoa.infrastructure.http_client.tls import causes, tls_problem

FAILURES = (
    kafka.KafkaError,
    OSError,
    TimeoutError,
    ValueError,
    AssertionError,
    NotImplementedError,
    KeyError,
    struct.error,
)
"""What aiokafka raises for a broker that is away, refuses, or answers nonsense: it checks some responses with
`assert`."""

_REFUSALS: dict[Any, tuple[str, str]] = {
    kafka.UnknownTopicOrPartitionError: ("UNKNOWN_TOPIC_OR_PARTITION", "there is no such topic or partition"),
    kafka.TopicAuthorizationFailedError: ("TOPIC_AUTHORIZATION_FAILED", "the broker does not allow this on the topic"),
    kafka.ClusterAuthorizationFailedError: (
        "CLUSTER_AUTHORIZATION_FAILED",
        "the broker does not allow idempotent writing",
    ),
    kafka.InvalidTopicError: ("INVALID_TOPIC_EXCEPTION", "the broker does not allow such a name of a topic"),
    kafka.OffsetOutOfRangeError: ("OFFSET_OUT_OF_RANGE", "the partition does not reach to this offset"),
    kafka.MessageSizeTooLargeError: ("MESSAGE_TOO_LARGE", "the record is larger than the topic allows"),
    kafka.RecordListTooLargeError: ("RECORD_LIST_TOO_LARGE", "the record is larger than the topic allows"),
    kafka.InvalidTimestampError: ("INVALID_TIMESTAMP", "its time is out of what the topic allows"),
    kafka.PolicyViolationError: ("POLICY_VIOLATION", "the broker's policy does not allow it"),
}
_OTHER_NAMES = {87: ("INVALID_RECORD", "the broker does not accept the record: a compacted topic needs a key")}
_NO_BROKER = "no broker of the cluster can be reached"
_LATE = (TimeoutError, kafka.RequestTimedOutError, kafka.KafkaTimeoutError)
_NONSENSE = (AssertionError, ValueError, KeyError, struct.error, kafka.CorrelationIdError)
_REASONS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    # most specific first: several of these are also OSError or KafkaError
    (
        (kafka.SaslAuthenticationFailed, kafka.AuthenticationFailedError),
        "the broker does not accept the credential",
    ),
    (
        (kafka.UnsupportedSaslMechanismError, kafka.AuthenticationMethodNotSupported),
        "the broker does not offer this saslMechanism",
    ),
    ((kafka.IllegalSaslStateError,), "the broker wants no SASL at this port, or another securityProtocol"),
    ((ConnectionRefusedError,), "nothing listens at the broker's address"),
    (_LATE, "the broker did not answer in time"),
    ((NotImplementedError, kafka.IncompatibleBrokerVersion), "the broker is too old or too new for the gateway"),
    (_NONSENSE, "a broker answered something that is not Kafka's protocol"),
    (
        (kafka.KafkaConnectionError, OSError),
        "the broker closed the connection; is it securityProtocol and saslMechanism that it expects?",
    ),
)


class BrokerRefusal(Exception):
    """A broker answered with an error code of the protocol."""

    def __init__(self, number: int) -> None:
        kind: Any = kafka.for_code(number)
        other = (f"ERROR_{number}", "the broker refuses it")
        super().__init__(kind.__name__)
        self.name: str
        self.reason: str
        self.name, self.reason = _REFUSALS.get(kind) or _OTHER_NAMES.get(number, other)


class NoBroker(Exception):
    """No broker could be asked, or none answered; `error` is why."""

    def __init__(self, error: BaseException, *, was_sent: bool = False) -> None:
        """`was_sent`: something of the call may have reached a broker, which questions about the cluster are not."""
        super().__init__(_NO_BROKER)
        self.error = error
        self.was_sent = was_sent

    def unsent(self) -> "NoBroker":
        """The same failure of a request that is no part of the call."""
        return NoBroker(self.error)


class WrongAnswer(Exception):
    """A broker answered something that is not the protocol; the message says what, in our words."""


@contextmanager
def reading_response() -> Generator[None]:
    """Raises WrongAnswer for a response whose parts are not what the protocol has there: null arrays, short rows."""
    try:
        yield
    except (TypeError, IndexError, KeyError, AttributeError, ValueError):
        raise WrongAnswer("a broker answered something that is not Kafka's protocol") from None


def translated(failure: BaseException, tool: str) -> BackendError:
    """The error to raise for a NoBroker or WrongAnswer; repeats nothing that the library says."""
    if isinstance(failure, WrongAnswer):
        return BackendProtocolError(f"The back end of {tool} failed: {failure}")
    error = failure.error if isinstance(failure, NoBroker) else failure
    is_unsent = isinstance(failure, NoBroker) and not failure.was_sent
    reason = f"The back end of {tool} failed: {reason_of(error)}"
    if isinstance(error, _LATE):
        return BackendTimedOut(reason, nothing_was_sent=is_unsent)
    if isinstance(error, _NONSENSE) and not isinstance(error, OSError):  # a TLS certificate's is a ValueError too
        return BackendProtocolError(reason)
    return BackendUnavailable(reason, nothing_was_sent=is_unsent)


def is_refused_login(failure: BaseException) -> bool:
    """True if the broker was reached and did not accept the credential."""
    error = failure.error if isinstance(failure, NoBroker) else failure
    return isinstance(error, (kafka.SaslAuthenticationFailed, kafka.AuthenticationFailedError))


def reason_of(error: BaseException) -> str:
    """Why a connection failed; safe to show."""
    tls = tls_problem(error)
    if tls is not None:
        return tls
    for cause in causes(error):
        if isinstance(cause, ForbiddenAddress):
            return "a broker is in a network that the gateway may not call"
        if isinstance(cause, NameNotResolved):
            return "the name of a broker does not resolve"
    return next((words for kinds, words in _REASONS if isinstance(error, kinds)), _NO_BROKER)
