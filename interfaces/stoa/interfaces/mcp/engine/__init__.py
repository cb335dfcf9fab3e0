"""The MCP engine: from a parsed message to a reply, on every transport. Imports no server and no framework."""
