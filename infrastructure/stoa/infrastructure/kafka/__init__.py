"""Metering events on a Kafka topic. Needs the extra `kafka`, which is imported on first use."""
