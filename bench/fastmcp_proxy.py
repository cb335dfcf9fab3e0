"""FastMCP's proxy to another MCP server, stateless with JSON answers; run by the Python of .venv-bench:

python fastmcp_proxy.py UPSTREAM_URL PORT
"""

import sys

import uvicorn
from fastmcp.server import create_proxy


def main(upstream: str, port: str) -> None:
    app = create_proxy(f"{upstream}/mcp", name="bench").http_app(path="/mcp", stateless_http=True, json_response=True)
    uvicorn.run(app, port=int(port), loop="uvloop", http="httptools", access_log=False, log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
