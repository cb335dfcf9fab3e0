"""The whole gateway as `stoa serve` wires it, started in this process, with a clock that the test moves."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dishka import AsyncContainer, Provider, provide
from dishka import Scope as Lifetime
from tests.interfaces.doors import Answer, send

from stoa.application.gateway import Gateway
from stoa.application.ports.clock import Clock
from stoa.domain.metering.event import MeteringEvent
from stoa.interfaces.bootstrap import CommandLine, IdentityPart, MeteringPart, build_container
from stoa.interfaces.http.guard import Guard
from stoa.interfaces.settings import Settings
from stoa.testing.clock import ManualClock


class ControlledTime(Provider):
    scope = Lifetime.APP

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    @provide(override=True)
    def clock(self) -> Clock:
        return self._clock


@dataclass
class Served:
    app: Guard
    container: AsyncContainer
    gateway: Gateway
    metering: MeteringPart
    identity: IdentityPart
    clock: ManualClock
    settings: Settings

    @property
    def events(self) -> list[MeteringEvent]:
        return list(self.metering.log.events())

    def token(self, role: str = "tenant-admin", tenant: str | None = "alpha", lifetime: int = 600) -> str:
        assert self.identity.issuer is not None
        roles = frozenset({role} if role else ())
        return self.identity.issuer.issue(subject=role or "x", tenant=tenant, roles=roles, lifetime_seconds=lifetime)

    async def get(self, path: str, token: str | None = None) -> Answer:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return await send(self.app, "GET", path, headers=headers)

    async def ready(self) -> Any:
        """The parts of `/ready` with their details, as a platform admin sees them."""
        return (await self.get("/ready", self.token("cpi-admin", None))).json()["parts"]

    async def call(self, tool: str, arguments: Any = None, token: str | None = None, **rest: Any) -> Answer:
        """A REST invocation."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        body = json.dumps({"arguments": arguments or {}}).encode()
        return await send(self.app, "POST", f"/mcp/v1/tools/{tool}/invoke", headers=headers, body=body, **rest)


@asynccontextmanager
async def serving(data_dir: Path, *overrides: Provider, started: bool = True, **values: Any) -> AsyncGenerator[Served]:
    """From startup to shutdown, as a server's lifespan has it."""
    clock = ManualClock()
    settings = Settings(data_dir=data_dir / "data", **values)
    container = build_container(settings, CommandLine(), ControlledTime(clock), *overrides)
    try:
        app = await container.get(Guard)
        parts = [await container.get(part) for part in (Gateway, MeteringPart, IdentityPart)]
    except BaseException:
        await container.close()
        raise
    served = Served(app, container, *parts, clock, settings)
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outbox: asyncio.Queue[str] = asyncio.Queue()

    async def emit(message: Any) -> None:
        outbox.put_nowait(message["type"])

    lifespan = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}}, inbox.get, emit))
    try:
        if started:
            inbox.put_nowait({"type": "lifespan.startup"})
            assert await asyncio.wait_for(outbox.get(), 20) == "lifespan.startup.complete"
        yield served
    finally:
        if started:
            inbox.put_nowait({"type": "lifespan.shutdown"})
            assert await asyncio.wait_for(outbox.get(), 20) == "lifespan.shutdown.complete"
            await asyncio.wait_for(lifespan, 20)
        else:
            lifespan.cancel()
            await asyncio.wait([lifespan])
            await container.close()


def manifest(name: str, endpoint: str, tenant: str | None = None, **spec: Any) -> str:
    metadata = {"name": name} if tenant is None else {"name": name, "namespace": f"tenant-{tenant}"}
    whole = {
        "apiVersion": "gostoa.dev/v1alpha1",
        "kind": "Tool",
        "metadata": metadata,
        "spec": {"endpoint": endpoint, "method": "GET", "annotations": {"readOnlyHint": True}, **spec},
    }
    return json.dumps(whole)  # JSON is YAML
