"""Server reflection in a process of its own: it takes the 12 MB of grpcio along when it ends, and what a hostile server
sends is read there. Its question comes over standard input, because it holds secrets.
"""

import asyncio
import base64
import os
import sys
from typing import Any, NamedTuple

import pydantic_core

from stoa.application.ports import CredentialSource
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendUnavailable, InvalidInput, Unavailable
from stoa.domain.operations.binding import TlsSecrets
from stoa.infrastructure.grpc.binding import split_target
from stoa.infrastructure.grpc.metadata import Metadata
from stoa.infrastructure.http_client import DnsLookUp, HostResolver, OutboundRules
from stoa.infrastructure.http_client.resolver import NameNotResolved

WALL_SECONDS = 45.0
"""Longer than reflection itself may take, for the start of the process on a busy machine."""
_INHERITED = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class ReflectionDenied(Exception):
    """The server wants another credential, or one at all; the text says so to people."""


_ERRORS: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (ReflectionDenied, InvalidInput, Unavailable, BackendUnavailable)
}


class Server(NamedTuple):
    """A server to ask, and how it is reached."""

    target: str
    tls: TlsSecrets
    tenant: TenantId | None


async def reflected_apart(
    server: Server,
    metadata: Metadata,
    credentials: CredentialSource,
    rules: OutboundRules,
    resolver: HostResolver | None,
) -> bytes:
    """A serialised FileDescriptorSet of all services, equal for an unchanged server. Raises ReflectionDenied,
    InvalidInput or Unavailable."""
    question = {
        "target": server.target,
        "addresses": await _addresses(server.target, resolver),
        "networks": [str(network) for network in rules.private_networks] or ["none"],
        "metadata": metadata,
        "tls": server.tls.model_dump(),
        "secrets": _secrets(server, credentials),
    }
    answer = await _asked(server.target, pydantic_core.to_json(question))
    if "data" in answer:
        return base64.b64decode(answer["data"])
    raise _ERRORS.get(answer["error"], Unavailable)(answer["message"])


async def _addresses(target: str, resolver: HostResolver | None) -> tuple[str, ...]:
    _, host, _ = split_target(target)
    used = resolver or HostResolver(DnsLookUp())
    try:
        return await used.addresses(host)
    except NameNotResolved:
        raise Unavailable(f"{target}: its host name does not resolve") from None
    finally:
        if resolver is None:
            await used.close()


def _secrets(server: Server, credentials: CredentialSource) -> dict[str, dict[str, str]]:
    """The entries that the TLS part names, by secret."""
    secrets: dict[str, dict[str, str]] = {}
    tls = server.tls
    for reference, entries in ((tls.ca, ("ca.crt",)), (tls.client, ("tls.crt", "tls.key"))):
        if reference is not None and server.target.startswith("grpcs://"):
            for entry in entries:
                value = credentials.read(server.tenant, reference, entry)
                secrets.setdefault(reference.name, {})[reference.key or entry] = value
    return secrets


async def _asked(where: str, question: bytes) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-m", "stoa.infrastructure.grpc.reflection_worker"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in _INHERITED if name in os.environ},
    )
    try:
        async with asyncio.timeout(WALL_SECONDS):
            answer, _ = await process.communicate(question)
    except TimeoutError:
        raise Unavailable(f"{where}: no complete answer to reflection within {WALL_SECONDS:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise Unavailable(f"{where}: reflection failed, with exit code {process.returncode}")
    content: dict[str, Any] = await asyncio.to_thread(pydantic_core.from_json, answer)
    return content
