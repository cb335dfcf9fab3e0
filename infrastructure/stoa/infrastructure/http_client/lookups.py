"""Looks host names up in two ways: by DNS, which holds no thread, or by the operating system, which holds one per name.

DNS is asked by c-ares as `/etc/resolv.conf` says (servers, search, ndots, options), after `/etc/hosts`; `localhost` is
loopback. Names that only a module of nsswitch.conf knows (mDNS, LDAP, a container engine's plug-in) need the operating
system.
"""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiodns

from stoa.infrastructure.http_client.resolver import Found, LookUp

SYSTEM_TTL_SECONDS = 10.0
"""Lifetime of the operating system's answers, which have no TTL."""
SYSTEM_THREADS = 64


class DnsLookUp(LookUp):
    """Asks DNS. `nameservers` (`ADDRESS:PORT`), `search` and `ndots` replace the values of `/etc/resolv.conf`."""

    def __init__(
        self, nameservers: Sequence[str] = (), *, search: Sequence[str] = (), ndots: int | None = None
    ) -> None:
        self._nameservers = nameservers
        self._options: dict[str, Any] = {"ndots": ndots} | ({"domains": [*search]} if search else {})
        self._dns: aiodns.DNSResolver | None = None

    async def __call__(self, name: str) -> Found:
        if self._dns is None:
            self._dns = aiodns.DNSResolver(self._nameservers or None, **self._options)
        try:
            answer = await self._dns.getaddrinfo(name, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        except aiodns.error.DNSError as caught:
            raise OSError(str(caught.args[-1])) from None
        addresses = dict.fromkeys(_text(node) for node in answer.nodes)
        ttls = [node.ttl for node in answer.nodes] + [alias.ttl for alias in answer.cnames]
        return Found(tuple(addresses), min(ttls, default=0))

    async def close(self) -> None:
        dns, self._dns = self._dns, None
        if dns is not None:
            await dns.close()


class SystemLookUp(LookUp):
    """Runs `getaddrinfo` in threads of its own, so that hanging names delay no other work. Each holds a thread until
    the system gives up, so SYSTEM_THREADS hanging names delay other names."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(SYSTEM_THREADS, thread_name_prefix="stoa-resolver")

    async def __call__(self, name: str) -> Found:
        loop = asyncio.get_running_loop()
        entries = await loop.run_in_executor(self._threads, _system_entries, name)
        return Found(tuple(dict.fromkeys(str(entry[4][0]) for entry in entries)), SYSTEM_TTL_SECONDS)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _system_entries(name: str) -> list[tuple[Any, ...]]:
    return [*socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]


def _text(node: Any) -> str:
    """The host of a socket address, which pycares leaves untyped and returns as bytes."""
    return bytes(node.addr[0]).decode("ascii")
