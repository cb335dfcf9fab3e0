"""The MCP engine: from a parsed message to a reply, whatever the transport. Imports no server and no framework."""
