"""The HTTP door: REST, health, metrics and metadata on Quart; `/mcp` as a separate, bare ASGI callable."""
