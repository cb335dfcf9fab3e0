"""`examples/everything.py` by several worker processes: `python -m tests.e2e.everything_workers PORT WORKERS`."""

import os
import sys
from typing import Any

import uvicorn
from examples.everything import add_everything

from stoa.application import Gateway
from stoa.interfaces.bootstrap import build_container
from stoa.interfaces.http.guard import AsgiApp, Guard
from stoa.interfaces.settings import Settings


def app() -> AsgiApp:
    container = build_container(Settings())
    doors: list[Guard] = []

    async def served(scope: Any, receive: Any, send: Any) -> None:
        if not doors:
            gateway = await container.get(Gateway)
            add_everything(gateway)
            gateway.tool(
                os.getpid, name="worker", description="Which process is this?", input_schema={"type": "object"}
            )
            doors.append(await container.get(Guard))
        await doors[0](scope, receive, send)

    return served


if __name__ == "__main__":
    uvicorn.run(
        "tests.e2e.everything_workers:app",
        factory=True,
        port=int(sys.argv[1]),
        workers=int(sys.argv[2]),
        lifespan="on",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=2,
    )
