"""Channels to gRPC servers: one for each server and way to reach it, opened with the first call.

The outbound rules hold where a channel is opened: a name is resolved by the gateway's resolver, every address is
checked, and the channel goes to addresses by number, so that a name that changes its mind gains nothing. When the
resolver names other addresses, or a TLS secret changes, calls go over a new channel, and the old one ends with its
calls.
"""

import asyncio
import ssl
from typing import Any, NamedTuple

import pydantic_core

import grpc  # type: ignore[import-untyped]
from stoa.application.ports import CredentialSource
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendUnavailable
from stoa.domain.operations.binding import TlsSecrets
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.grpc.binding import split_target
from stoa.infrastructure.http_client import DnsLookUp, ForbiddenAddress, HostResolver, NameNotResolved, OutboundRules

MAX_RECEIVED_BYTES = 8 * 1024 * 1024
MAX_METADATA_BYTES = 64 * 1024
KEEPALIVE_MS = 300_000
"""Servers end connections that are pinged more often than every five minutes, unless they are told otherwise."""
KEEPALIVE_TIMEOUT_MS = 20_000
FIRST_RECONNECT_MS = 200
LAST_RECONNECT_MS = 10_000
GRACE_SECONDS = 300.0
"""For the calls of a channel that was replaced; no tool may take longer."""


class Upstream(NamedTuple):
    """A server and how it is reached; equal ones share a channel."""

    target: str
    tenant: TenantId | None
    tls: TlsSecrets
    load_balancing: str
    health_service: str | None = None


class _TlsMaterial(NamedTuple):
    ca: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None


class _Open(NamedTuple):
    channel: Any
    addresses: tuple[str, ...]
    material: _TlsMaterial | None


class Channels:
    """Belongs to one event loop from the first channel to `close`."""

    def __init__(
        self,
        credentials: CredentialSource,
        rules: OutboundRules,
        resolver: HostResolver | None,
        max_received_bytes: int = MAX_RECEIVED_BYTES,
    ) -> None:
        self._credentials = credentials
        self._rules = rules
        self._resolver = resolver or HostResolver(DnsLookUp())
        self._is_own_resolver = resolver is None
        self._max_received_bytes = max_received_bytes
        self._open: dict[Upstream, _Open] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self.large_messages = asyncio.Lock()
        """Held while a message of many bytes is read."""

    async def channel(self, upstream: Upstream, whose: str) -> Any:
        """A grpc.aio.Channel. `whose`: names the tool in messages. Raises BackendUnavailable; nothing was sent then."""
        scheme, host, port = split_target(upstream.target)
        try:
            addresses = await self._resolver.addresses(host)
        except NameNotResolved:
            message = f"The back end of {whose} failed: its host name does not resolve"
            raise BackendUnavailable(message, nothing_was_sent=True) from None
        material = self._material(upstream) if scheme == "grpcs" else None
        current = self._open.get(upstream)
        if current is not None:
            if (current.addresses, current.material) == (addresses, material):
                return current.channel
            self._end(current.channel)
        try:
            for address in addresses:
                self._rules.check(address)
        except ForbiddenAddress:
            message = f"The back end of {whose} failed: it is in a network that the gateway may not call"
            self._open.pop(upstream, None)
            raise BackendUnavailable(message, nothing_was_sent=True) from None
        channel = self._connect(upstream, host, port, addresses, material)
        self._open[upstream] = _Open(channel, addresses, material)
        return channel

    async def close(self) -> None:
        opened, self._open = [*self._open.values()], {}
        ending, self._ending = [*self._ending], set()
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, *(current.channel.close() for current in opened), return_exceptions=True)
        if self._is_own_resolver:
            await self._resolver.close()

    def _material(self, upstream: Upstream) -> _TlsMaterial:
        """Read for each call, as every secret is: a renewed certificate is used without a restart."""

        def entry(reference: Any, key: str) -> bytes | None:
            return None if reference is None else self._credentials.read(upstream.tenant, reference, key).encode()

        tls = upstream.tls
        return _TlsMaterial(entry(tls.ca, "ca.crt"), entry(tls.client, "tls.crt"), entry(tls.client, "tls.key"))

    def _connect(
        self, upstream: Upstream, host: str, port: int, addresses: tuple[str, ...], material: _TlsMaterial | None
    ) -> Any:
        target = _numeric_target(addresses, port)
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        options: list[tuple[str, Any]] = [
            ("grpc.default_authority", authority),
            ("grpc.enable_http_proxy", 0),  # proxies of the environment are not used, nor by any other connection
            ("grpc.enable_retries", 0),
            ("grpc.keepalive_time_ms", KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
            ("grpc.initial_reconnect_backoff_ms", FIRST_RECONNECT_MS),
            ("grpc.max_reconnect_backoff_ms", LAST_RECONNECT_MS),
            *_balancing(upstream),
            ("grpc.max_receive_message_length", self._max_received_bytes),
            ("grpc.max_metadata_size", MAX_METADATA_BYTES),
            ("grpc.primary_user_agent", "stoa-mcp-gateway"),
            # Connections of one tenant are not lent to another's channel, and closing a channel closes them.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if material is None:
            return grpc.aio.insecure_channel(target, options)
        credentials = grpc.ssl_channel_credentials(
            material.ca or _trusted_certificates(), material.key, material.certificate
        )
        return grpc.aio.secure_channel(target, credentials, [*options, ("grpc.ssl_target_name_override", host)])

    def _end(self, channel: Any) -> None:
        task = asyncio.create_task(channel.close(GRACE_SECONDS), name="end a gRPC channel")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def _balancing(upstream: Upstream) -> list[tuple[str, str]]:
    """Which of several addresses calls go to. gRPC looks at health for round_robin only
    (github.com/grpc/proposal/blob/master/A17-client-side-health-checking.md)."""
    if upstream.health_service is None:
        return [("grpc.lb_policy_name", upstream.load_balancing)]
    config: JsonObject = {
        "healthCheckConfig": {"serviceName": upstream.health_service},
        "loadBalancingConfig": [{"round_robin": {}}],
    }
    return [("grpc.service_config", pydantic_core.to_json(config).decode())]


def _numeric_target(addresses: tuple[str, ...], port: int) -> str:
    """A target in which nothing is left to resolve. It has addresses of one family, so where both are present those of
    IPv4 are written as IPv6 (RFC 4291 section 2.5.5.2)."""
    if all(":" not in address for address in addresses):
        return "ipv4:" + ",".join(f"{address}:{port}" for address in addresses)
    mapped = (address.partition("%")[0] if ":" in address else f"::ffff:{address}" for address in addresses)
    return "ipv6:" + ",".join(f"[{address}]:{port}" for address in mapped)


def _trusted_certificates() -> bytes | None:
    """What OpenSSL trusts (the system's certificates, or SSL_CERT_FILE), as for every other connection. None: grpcio's
    own list, where OpenSSL has none."""
    found = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, found)).encode() or None
