"""A governed and a bare `tools/call` in this process, each from the bytes of its request to the bytes of its answer:
what `python -m bench ratio` and its test count.

Server protocol, application and HTTP client are those of the systems `gateway` and `bare`; only the socket of the
client is replaced by a transport in memory. The back end is a process of its own.
"""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import uvicorn
from dishka import Provider, Scope, provide
from uvicorn.server import ServerState

from bench.errors import CannotMeasure
from bench.passthrough import PassThrough
from bench.processes import Child, free_port
from bench.systems import GATEWAY_ENVIRONMENT, REPOSITORY, tool_set
from bench.wire import NUMBER, STATELESS_REVISIONS, Target, numbered, template
from stoa.application.concurrency.supervisor import Supervisor
from stoa.application.memory.clock import SystemClock
from stoa.infrastructure.oidc import DevIssuer
from stoa.infrastructure.opa.embedded import DEFAULT_BUNDLE, OpaWasmPolicyEngine
from stoa.interfaces.bootstrap import DEV_ISSUER, build_container
from stoa.interfaces.bootstrap.parts import PolicyPart
from stoa.interfaces.http.guard import Guard
from stoa.interfaces.http.server import config_of
from stoa.interfaces.settings import Settings

Call = Callable[[int], Awaitable[bytes]]
"""Makes one call with this number, of six digits; returns the body of its answer."""
SYSTEMS = ("gateway", "bare")
_WARM_UP_CALLS = 50
_PORT = 8080


@asynccontextmanager
async def whole_call(directory: Path, system: str) -> AsyncGenerator[Call]:
    """The warm call of one of SYSTEMS."""
    port = free_port()
    command = [sys.executable, "-m", "bench.small_back_end", str(port)]
    back_end = Child(command, env={}, cwd=REPOSITORY, log=directory / "back_end.log")
    try:
        back_end.wait_for_port(port, 60)
        url = f"http://127.0.0.1:{port}"
        served = _served(_bare(url), Target(_PORT)) if system == "bare" else _governed(url, directory)
        async with served as call:
            yield call
    finally:
        back_end.stop()


@asynccontextmanager
async def _governed(url: str, directory: Path) -> AsyncGenerator[Call]:
    catalogue = directory / "bench.yaml"
    catalogue.write_text(json.dumps(tool_set(url)))
    environment = {name.lower(): value for name, value in GATEWAY_ENVIRONMENT.items()}
    environment["stoa_caller_limits"] = json.loads(environment["stoa_caller_limits"])
    settings = Settings(**environment, port=_PORT, data_dir=directory / "data", catalogue_path=(str(catalogue),))  # type: ignore[arg-type]
    container = build_container(settings, _Policy())
    issuer = DevIssuer(directory / "data", DEV_ISSUER, "stoa-mcp-gateway", SystemClock(), "dev")
    token = issuer.issue(subject="ann", tenant="bench", roles=frozenset({"cpi-admin"}), lifetime_seconds=3600)
    with (directory / "audit.log").open("w") as log:
        with redirect_stderr(log):  # where audit lines go
            application = await container.get(Guard)
        async with _served(config_of(application, 3600), Target(_PORT, token=token)) as call:
            # What is done each second is no part of a call, and under valgrind a second has few calls.
            await (await container.get(Supervisor)).stop()
            yield call
        await container.close()


class _Policy(Provider):
    """The policy that ships, compiled here: valgrind's processor lacks what the machine code of another process, which
    the gateway would load, makes use of."""

    scope = Scope.APP

    @provide(override=True)
    def policing(self) -> PolicyPart:
        engine = OpaWasmPolicyEngine(DEFAULT_BUNDLE)
        return PolicyPart(engine, probes=(engine,))


def _bare(url: str) -> uvicorn.Config:
    return uvicorn.Config(PassThrough(url), http="httptools", access_log=False, log_config=None, lifespan="on")


@asynccontextmanager
async def _served(config: uvicorn.Config, target: Target) -> AsyncGenerator[Call]:
    """One connection of an application that has started."""
    config.load()
    lifespan = config.lifespan_class(config)
    await lifespan.startup()
    if lifespan.should_exit:
        raise CannotMeasure("the application did not start")
    request = template(target, STATELESS_REVISIONS)
    protocol = config.http_protocol_class(config, ServerState(), lifespan.state)  # type: ignore[operator, arg-type]
    transport = _InMemory()
    protocol.connection_made(transport)

    async def call(number: int) -> bytes:
        answer = transport.next_answer()
        protocol.data_received(numbered(request, number))
        return await answer

    for number in range(NUMBER, NUMBER + _WARM_UP_CALLS):
        body = json.loads(await call(number))
        if body.get("id") != number or body.get("result", {}).get("structuredContent", {}).get("id") != NUMBER:
            raise CannotMeasure(f"a call was answered with {body}")
    yield call
    protocol.connection_lost(None)
    await lifespan.shutdown()


class _InMemory(asyncio.Transport):
    """The client's connection: completes a future when a whole answer was written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 40000), "sockname": ("127.0.0.1", _PORT)})
        self._written = b""
        self._length = -1
        self._answer: asyncio.Future[bytes] | None = None

    def next_answer(self) -> "asyncio.Future[bytes]":
        self._written, self._length = b"", -1
        self._answer = asyncio.get_running_loop().create_future()
        return self._answer

    def write(self, data: Any) -> None:
        self._written += data
        head, separator, body = self._written.partition(b"\r\n\r\n")
        if not separator or self._answer is None:
            return
        if self._length < 0:
            self._length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) >= self._length:
            self._answer.set_result(body)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Stays open."""

    def abort(self) -> None:
        """Stays open."""

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered."""

    def get_write_buffer_size(self) -> int:
        return 0
