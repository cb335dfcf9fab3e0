"""Metrics, the audit trail and the format of the log: the operators' view of finished calls."""
