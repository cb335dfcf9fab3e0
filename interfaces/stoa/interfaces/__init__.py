"""The doors (MCP, REST, CLI), which decode, call one use case and encode; and `bootstrap`, the composition root."""
