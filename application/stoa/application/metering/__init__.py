"""Making, pricing and recording metering events; budgets; the relay from the outbox to Kafka; usage reports and
reconciliation."""
