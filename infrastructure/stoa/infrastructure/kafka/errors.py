"""Classifies errors of aiokafka: an event that no broker will ever accept, or an outage, each described in our own
words."""

from aiokafka import errors as kafka  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

POISON: dict[type[BaseException], str] = {
    kafka.MessageSizeTooLargeError: "larger than the broker or the topic allows (max.message.bytes)",
    kafka.RecordTooLargeError: "larger than the broker or the topic allows (max.message.bytes)",
    kafka.RecordListTooLargeError: "larger than the broker or the topic allows (max.message.bytes)",
    kafka.InvalidTimestampError: "its time is out of what the topic allows (message.timestamp settings)",
}
"""Errors that refuse an event permanently, if it is alone in its batch."""

_OUTAGES: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    (
        (kafka.AuthenticationFailedError, kafka.SaslAuthenticationFailed, kafka.IllegalSaslStateError),
        "the broker refuses KAFKA_USERNAME and KAFKA_PASSWORD, or their access token",
    ),
    (
        (kafka.AuthenticationMethodNotSupported, kafka.UnsupportedSaslMechanismError),
        "the broker does not offer KAFKA_SASL_MECHANISM",
    ),
    (
        (
            kafka.TopicAuthorizationFailedError,
            kafka.ClusterAuthorizationFailedError,
            kafka.TransactionalIdAuthorizationFailed,
        ),
        "the broker does not allow this user to write to METERING_TOPIC",
    ),
    ((kafka.UnknownTopicOrPartitionError,), "there is no topic of that name; create METERING_TOPIC"),
    ((kafka.InvalidTopicError,), "METERING_TOPIC is no name that the broker allows"),
    (
        (kafka.NotEnoughReplicasError, kafka.NotEnoughReplicasAfterAppendError),
        "the topic has too few replicas in sync (min.insync.replicas)",
    ),
    (
        (kafka.KafkaConnectionError, kafka.NoBrokersAvailable, kafka.NodeNotReadyError, OSError),
        "no broker of KAFKA_BOOTSTRAP_SERVERS answers in the way of KAFKA_SECURITY_PROTOCOL and KAFKA_USERNAME",
    ),
    ((kafka.KafkaTimeoutError, kafka.RequestTimedOutError), "the broker does not answer in time"),
    (
        (kafka.UnsupportedVersionError, kafka.IncompatibleBrokerVersion, kafka.UnrecognizedBrokerVersion),
        "the broker is too old or too new for this client",
    ),
)

FAILURES = (kafka.KafkaError, OSError, ValueError, AssertionError)
"""Errors of aiokafka with external causes: it checks some broker responses with `assert`, and options such as addresses
with ValueError."""


def outage(failure: BaseException) -> str:
    """The reason of an outage, safe to show; the name of the error's class if it has no better description."""
    for kinds, words in _OUTAGES:
        if isinstance(failure, kinds):
            return words
    return f"the broker refuses ({type(failure).__name__})"
