"""Governance of requests from a running call to its client: policy, limits and metering, then the channel of the
door."""
