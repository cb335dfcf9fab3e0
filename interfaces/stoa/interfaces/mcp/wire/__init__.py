"""MCP forms on the wire: envelopes, headers, introductions, sampling, sealed values."""
