"""The server of `python -m bench sessions`: the gateway as `stoa serve` wires and runs it, with tools that make events.

`python -m bench.session_server PORT`; everything else comes from the environment, as for `stoa serve`.
"""

import asyncio
import sys
from typing import Annotated

import uvicorn
import uvloop
from pydantic import Field

from stoa.application import Context, Gateway
from stoa.interfaces.bootstrap import build_container
from stoa.interfaces.http.guard import Guard
from stoa.interfaces.http.protocol import GatewayProtocol
from stoa.interfaces.settings import Settings

WATCHED = ("bench://even", "bench://odd")
"""Resources that change in turn, so that a lost or repeated message shows."""


async def add_tools(gateway: Gateway) -> None:
    async def write(uri: str, text: str) -> None:
        manifest = {
            "apiVersion": "gostoa.dev/v1alpha1",
            "kind": "Resource",
            "metadata": {"name": uri.rpartition("/")[2]},
            "spec": {"uri": uri, "text": text},
        }
        await gateway.add_manifest(manifest, origin=uri)

    for uri in WATCHED:
        await write(uri, "first edition")

    @gateway.tool
    async def change(number: int) -> str:
        """Changes one of the watched resources."""
        await write(WATCHED[number % 2], f"edition {number}")
        return "changed"

    @gateway.tool
    async def count(context: Context, steps: int, pause_ms: Annotated[int, Field(ge=0)]) -> str:
        """Tells each step."""
        for step in range(1, steps + 1):
            await context.log("warning", step)
            await asyncio.sleep(pause_ms / 1000)
        return f"counted to {steps}"


async def main(port: int) -> None:
    container = build_container(Settings(port=port))
    await add_tools(await container.get(Gateway))
    config = uvicorn.Config(
        await container.get(Guard),
        port=port,
        http=GatewayProtocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=2,
    )
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1])))
