"""What an error of aiokafka means here: events that no broker will ever take, or an outage, in words of our own."""

from aiokafka import errors as kafka  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

POISON: dict[type[BaseException], str] = {
    kafka.MessageSizeTooLargeError: "larger than the broker or the topic allows (max.message.bytes)",
    kafka.RecordTooLargeError: "larger than the broker or the topic allows (max.message.bytes)",
    kafka.RecordListTooLargeError: "larger than the broker or the topic allows (max.message.bytes)",
    kafka.InvalidTimestampError: "its time is out of what the topic allows (message.timestamp settings)",
}
"""Refused for ever, if it is alone in its batch."""

_OUTAGES: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    (
        (kafka.AuthenticationFailedError, kafka.SaslAuthenticationFailed, kafka.IllegalSaslStateError),
        "the broker refuses KAFKA_USERNAME and KAFKA_PASSWORD",
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
"""What may come out of aiokafka for reasons that are not ours: it checks some answers of brokers with `assert`, and
options such as addresses with ValueError."""


def outage(failure: BaseException) -> str:
    """Why nothing arrives, safe to show; the class's name where there are no better words."""
    for kinds, words in _OUTAGES:
        if isinstance(failure, kinds):
            return words
    return f"the broker refuses ({type(failure).__name__})"
