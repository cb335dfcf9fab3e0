"""Results of calls: MCP content blocks, what a back end answered, response headers that may be shown, redaction."""
