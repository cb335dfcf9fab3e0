"""A DNS server on a loopback UDP port that answers what a table says, and stays silent about other names on purpose."""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import cast

_A, _AAAA = 1, 28
_TYPES = {4: _A, 16: _AAAA}


@dataclass
class DnsServer(asyncio.DatagramProtocol):
    """`records`: lower-case name to addresses. A name below `hangs.test` is never answered; others do not exist."""

    records: dict[str, tuple[str, ...]]
    ttl_seconds: int = 60
    port: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    """How often each name was asked for, once per pair of A and AAAA."""
    _heard: asyncio.Event = field(default_factory=asyncio.Event)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, end = _question(data)
        kind = struct.unpack(">H", data[end : end + 2])[0]
        self.asked[name] += kind == _A
        if name.endswith("hangs.test"):
            self._heard.set()
            return
        found = [ip_address(text).packed for text in self.records.get(name, ())]
        fitting = [packed for packed in found if _TYPES[len(packed)] == kind]
        code = 0 if name in self.records else 3
        head = data[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(fitting), 0, 0)
        answers = (
            b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, self.ttl_seconds, len(packed)) + packed for packed in fitting
        )
        self._transport.sendto(head + data[12 : end + 4] + b"".join(answers), addr)

    async def has_heard_of(self, name: str) -> None:
        """A name that hangs was asked for."""
        while not self.asked[name]:
            self._heard.clear()
            await self._heard.wait()


def _question(data: bytes) -> tuple[str, int]:
    """The name of the first question, and where its type stands."""
    labels, at = [], 12
    while length := data[at]:
        labels.append(data[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    return ".".join(labels).lower(), at + 1


@asynccontextmanager
async def dns_server(records: Mapping[str, tuple[str, ...]], *, ttl_seconds: int = 60) -> AsyncIterator[DnsServer]:
    server = DnsServer({**records}, ttl_seconds)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: server, local_addr=("127.0.0.1", 0), family=socket.AF_INET
    )
    try:
        yield server
    finally:
        transport.close()
