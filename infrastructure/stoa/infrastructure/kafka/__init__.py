"""Kafka: metering events on a topic, and topics as tools. Needs the extra `kafka`, which is imported on first use."""

from stoa.infrastructure.kafka.backend import KafkaBackend
from stoa.infrastructure.kafka.spec_kind import KafkaSpecKind

__all__ = ["KafkaBackend", "KafkaSpecKind"]
