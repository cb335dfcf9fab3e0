"""Upstream MCP servers as back ends: what they offer becomes part of the one catalogue, and calls are passed on.

binding, manifest        what is called, as data           messages, events        JSON-RPC and server-sent events
description, converter   lists to operations               http, duplex, stdio,    the transports, each a `session`
spec_kind                ToolSets, and their changes         sse
backend                  the calls                         conversation            one request, and the client's side
upstreams                servers and their sessions        client_requests,        wire forms to values and back
                                                             results
"""

from stoa.infrastructure.mcp_upstream.backend import McpBackend
from stoa.infrastructure.mcp_upstream.spec_kind import McpSpecKind
from stoa.infrastructure.mcp_upstream.upstreams import McpUpstreams

__all__ = ["McpBackend", "McpSpecKind", "McpUpstreams"]
