"""JSON-RPC 2.0: messages, and messages as lines (MCP stdio)."""
