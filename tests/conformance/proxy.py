"""A gateway in front of another MCP server, which a manifest names: `proxy.py PORT UPSTREAM_URL REVISION`.

The conformance suite is run through it, so everybody may call it, on loopback, and nothing is renamed.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

import uvicorn

from stoa.application.gateway import Gateway
from stoa.application.manifests.parse import RateLimitManifest
from stoa.interfaces.bootstrap import CommandLine, build_container
from stoa.interfaces.http.guard import Guard
from stoa.interfaces.settings import Settings


async def over_http(port: int, upstream: str, revision: str, folder: Path) -> None:
    manifest = {
        "apiVersion": "gostoa.dev/v1alpha1",
        "kind": "ToolSet",
        "metadata": {"name": "everything"},
        "spec": {
            "mcp": {"url": upstream, "protocolVersion": revision},
            "toolDefaults": {"tags": ["stoa:read"], "timeout": "120s"},
        },
    }
    (folder / "everything.yaml").write_text(json.dumps(manifest))
    generous = RateLimitManifest.model_validate({"requestsPerMinute": 6_000_000, "burst": 100_000})
    settings = Settings(
        port=port,
        data_dir=folder / "data",
        catalogue_path=[str(folder / "everything.yaml")],
        identity_provider="none",
        outbound_networks="127.0.0.0/8",
        stoa_caller_limits={"viewer": generous},
        mcp_profile="faithful",  # the suite wants schemas as they were declared
    )
    container = build_container(settings, CommandLine())
    gateway, app = await container.get(Gateway), await container.get(Guard)
    await gateway.loader.execute()
    for finding in gateway.loader.findings:
        print(finding, file=sys.stderr)
    config = uvicorn.Config(app, host=settings.host, port=port, lifespan="on", access_log=False, log_level="warning")
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(over_http(int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(temporary)))
