"""Calls that go on in the background as MCP tasks, with the lease that shows that their process is alive."""
