"""Drives FastMCP's client, with its own login, as login.mjs does the TypeScript ones. Run by the Python of .venv-bench:

`python fastmcp_client.py URL [CLIENT_ID]`; it opens the browser that BROWSER names.
"""

import asyncio
import json
import sys

from fastmcp import Client
from fastmcp.client.auth import OAuth


async def main(url: str, client_id: str | None = None) -> None:
    async with Client(url, auth=OAuth(client_id=client_id, callback_host="127.0.0.1")) as client:
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, *rest = json.loads(line)
            try:
                if name == "list":
                    result: object = [tool.name for tool in await client.list_tools()]
                else:
                    result = (await client.call_tool(rest[0], {}, raise_on_error=False)).is_error
                print(json.dumps({"result": result}), flush=True)
            except Exception as error:  # noqa: BLE001  # whatever it is, the test judges it
                print(json.dumps({"error": str(error)}), flush=True)


asyncio.run(main(*sys.argv[1:]))
