"""The HTTP door: REST, health, metrics and metadata on Quart; `/mcp` beside it as a bare ASGI callable."""
