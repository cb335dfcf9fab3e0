"""Metering events on a Kafka topic. Needs the extra `kafka`, which is imported when something here is used."""
