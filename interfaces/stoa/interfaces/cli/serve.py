"""`stoa serve`: the gateway as an HTTP server."""

import os
import tempfile
from pathlib import Path

import uvicorn

from stoa.interfaces.settings import Settings


def serve(*, catalogue: list[Path] | None = None, port: int | None = None, workers: int = 1) -> None:
    """Serve the catalogue over MCP and REST until interrupted.

    Parameters
    ----------
    catalogue
        Manifest file or folder; may be given several times. Replaces CATALOGUE_PATH.
    port
        Port to listen on. Replaces PORT.
    workers
        Processes that share the port. Rate limits are counted in each.
    """
    # The workers read the environment, so that is how the options reach them.
    if catalogue:
        os.environ["CATALOGUE_PATH"] = ",".join(map(str, catalogue))
    if port is not None:
        os.environ["PORT"] = str(port)
    settings = Settings()
    with tempfile.TemporaryDirectory(prefix="stoa-metrics-") as shared:
        if workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
        uvicorn.run(
            "stoa.interfaces.bootstrap:app_from_environment",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=workers,
            loop="uvloop",
            http="httptools",
            lifespan="on",
            interface="asgi3",
            proxy_headers=False,
            access_log=False,
            server_header=False,
            log_config=None,
            timeout_graceful_shutdown=10,
        )
