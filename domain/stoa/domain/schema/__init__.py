"""JSON values as types, text that is safe to show, and the portable form of a JSON Schema (the subset that all MCP
clients accept)."""
