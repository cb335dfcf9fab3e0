"""The governed core inside a program of your own: no server, no Kafka, no Kubernetes.

Run it with `python examples/embed.py`; it needs the extra `rest`.
"""

import asyncio
import json

from aiohttp import web

from stoa.application import Gateway, Principal, Tool
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.memory.operation_source import InMemoryOperationSource
from stoa.domain.operations.binding import RestBinding
from stoa.infrastructure.openapi import OpenApiSpecKind
from stoa.infrastructure.rest import RestBackend

ANN = Principal.of("ann", tenant="acme", roles=["viewer"])


async def main(pets_url: str) -> None:
    sink = InMemoryMeteringSink()
    rest = RestBackend(InMemoryCredentialSource())
    plugins = InMemoryOperationSource("plugins")
    gateway = Gateway(backends=[rest], spec_kinds=[OpenApiSpecKind()], sink=sink, operation_sources=[plugins])

    @gateway.tool(tags=["math"])
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    gateway.add_openapi(json.dumps(pets_api(pets_url)))
    await gateway.add_manifest(retire_manifest(pets_url))
    plugins.replace([Tool(name="first-pet", binding=RestBinding(method="GET", base_url=pets_url, path="/pets/1"))])
    await gateway.loader.execute()  # `gateway.loader.watch` does so by itself, and so does a mounted gateway

    print("ann may call:", ", ".join(tool.name for tool in (await gateway.tools(ANN)).items))
    for tool, arguments in (
        ("add", {"a": 40, "b": 2}),
        ("getPet", {"id": 7}),
        ("getPet", {"id": "seven"}),
        ("retire-pet", {"id": "7"}),
        ("first-pet", {}),
    ):
        outcome = await gateway.invoke(tool, arguments, ANN)
        print(f"{tool}: {outcome.status.value}:", outcome.error or (outcome.result and outcome.result.structured))
    for event in sink.events():
        print("metered:", event.tenant, event.user_id, event.tool, event.status.value, event.cost_units > 0)
    await gateway.close()


def pets_api(url: str) -> dict[str, object]:
    """What a team publishes about its API."""
    identifier = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
    operation = {"operationId": "getPet", "summary": "One pet", "parameters": [identifier]}
    info = {"title": "Pets", "version": "1"}
    return {"openapi": "3.1.0", "info": info, "servers": [{"url": url}], "paths": {"/pets/{id}": {"get": operation}}}


def retire_manifest(url: str) -> dict[str, object]:
    """A tool that is written by hand; destructive, so viewers may neither see nor call it."""
    spec = {"endpoint": f"{url}/pets/{{id}}", "method": "DELETE", "annotations": {"destructiveHint": True}}
    metadata = {"name": "retire-pet", "namespace": "tenant-acme"}
    return {"apiVersion": "gostoa.dev/v1alpha1", "kind": "Tool", "metadata": metadata, "spec": spec}


async def with_pets() -> None:
    """Runs `main` beside a tiny API on a free loopback port."""

    async def pet(request: web.Request) -> web.Response:
        return web.json_response({"id": int(request.match_info["id"]), "name": "Rex"})

    app = web.Application()
    app.router.add_get("/pets/{id}", pet)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        await main(f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(with_pets())
