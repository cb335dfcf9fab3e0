"""What operators see of finished calls: metrics, the audit trail and the log's form."""
