"""FastMCP's `from_openapi` as its documentation shows it, stateless with JSON answers.

Run by the Python of .venv-bench, not by ours:

    python fastmcp_server.py OPENAPI_FILE UPSTREAM_URL PORT
"""

import json
import sys
from pathlib import Path

import httpx2
import uvicorn
from fastmcp import FastMCP


def main(document: str, upstream: str, port: str) -> None:
    client = httpx2.AsyncClient(base_url=upstream)
    server = FastMCP.from_openapi(openapi_spec=json.loads(Path(document).read_text()), client=client, name="bench")
    app = server.http_app(path="/mcp", stateless_http=True, json_response=True)
    # The server settings of the other contestants; FastMCP's own `run` would log every request.
    uvicorn.run(app, port=int(port), loop="uvloop", http="httptools", access_log=False, log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
