"""The tracer that OTEL_EXPORTER_OTLP_ENDPOINT asks for."""

import asyncio
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.infrastructure.rest.loopback import answer, loopback

from stoa.application import Gateway, Principal
from stoa.application.ports import InvocationObserver
from stoa.interfaces.bootstrap.container import build_container
from stoa.interfaces.bootstrap.parts import TracingPart
from stoa.interfaces.settings import Settings


async def test_tracing_sends_the_spans_of_calls_to_the_collector_that_the_setting_names(tmp_path: Path) -> None:
    async with loopback(lambda _: answer(b"{}")) as server:
        settings = Settings(
            data_dir=tmp_path,
            otel_exporter_otlp_endpoint=server.url,
            otel_exporter_otlp_headers="X-Key=a%20b,Other=c",
            otel_service_name="gate",
        )
        container = build_container(settings)
        try:
            part = await container.get(TracingPart)
            gateway = await container.get(Gateway)
            assert part.observers[0] in await container.get(list[InvocationObserver])
            await gateway.invoke("nothing", {}, Principal.of("ada", roles=["viewer"]))
            (run,) = part.background.values()
            running = asyncio.create_task(run())
            await asyncio.sleep(0)
            running.cancel()  # what has ended is sent before the end
            await asyncio.gather(running, return_exceptions=True)
        finally:
            await container.close()
        assert server.seen[0].header("x-key") == "a b"
        assert b'"gate"' in server.seen[0].body


async def test_tracing_is_off_without_a_collector(tmp_path: Path) -> None:
    container = build_container(Settings(data_dir=tmp_path))
    try:
        assert await container.get(TracingPart) == TracingPart()
    finally:
        await container.close()
    with pytest.raises(ValidationError, match="OTEL_EXPORTER_OTLP_ENDPOINT"):
        Settings(data_dir=tmp_path, otel_exporter_otlp_endpoint="localhost:4318")
