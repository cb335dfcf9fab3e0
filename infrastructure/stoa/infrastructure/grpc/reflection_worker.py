"""The process that `reflection_process` starts: one question on standard input, one answer on standard output."""

import asyncio
import base64
import sys
from contextlib import suppress
from typing import Any

import pydantic_core

from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.errors import StoaError
from stoa.domain.operations.binding import TlsSecrets
from stoa.infrastructure.grpc.channels import Channels, Upstream
from stoa.infrastructure.grpc.reflection import reflected
from stoa.infrastructure.grpc.reflection_process import ReflectionDenied
from stoa.infrastructure.http_client import HostResolver, OutboundRules
from stoa.infrastructure.http_client.resolver import Found

MEMORY_BYTES = 1024 * 1024 * 1024
"""Upper bound on address space, of which grpcio's threads reserve some hundred MiB."""
_TTL_SECONDS = 300.0


class _Known:
    """Resolves to what the gateway resolved."""

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = tuple(addresses)

    async def __call__(self, name: str) -> Found:  # noqa: ARG002  # there is but one
        return Found(self._addresses, _TTL_SECONDS)

    async def close(self) -> None:
        """Does nothing: nothing is open."""


async def _answered(question: dict[str, Any]) -> bytes:
    credentials = InMemoryCredentialSource()
    for name, entries in question["secrets"].items():
        credentials.put(None, name, entries)
    resolver = HostResolver(_Known(question["addresses"]))
    channels = Channels(credentials, OutboundRules.parse(question["networks"]), resolver)
    target, tls = question["target"], TlsSecrets.model_validate(question["tls"])
    try:
        channel = await channels.channel(Upstream(target, None, tls, "pick_first"), target)
        return await reflected(channel, target, tuple((name, value) for name, value in question["metadata"]))
    finally:
        await channels.close()
        await resolver.close()


def _limit_memory() -> None:
    """Descriptors may take forty times what was sent."""
    if sys.platform == "win32":
        return
    import resource

    with suppress(OSError, ValueError):  # macOS knows no limit of memory
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def main() -> None:
    _limit_memory()
    question = pydantic_core.from_json(sys.stdin.buffer.read())
    try:
        answer = {"data": base64.b64encode(asyncio.run(_answered(question))).decode("ascii")}
    except (StoaError, ReflectionDenied) as refused:
        answer = {"error": type(refused).__name__, "message": str(refused)}
    sys.stdout.buffer.write(pydantic_core.to_json(answer))


if __name__ == "__main__":
    main()
