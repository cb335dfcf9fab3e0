"""The REST door under `/mcp/v1`, and the endpoints of operation: health, readiness, metrics, usage."""
