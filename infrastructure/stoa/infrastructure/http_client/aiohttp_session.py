"""Sessions of aiohttp, for back ends whose answers are streams or sockets, which `http1` does not read."""

from typing import Any

import aiohttp

from stoa.infrastructure.http_client.connector import guarded_connector
from stoa.infrastructure.http_client.resolver import HostResolver
from stoa.infrastructure.http_client.rules import OutboundRules


def open_session(
    rules: OutboundRules | None,
    resolver: HostResolver | None,
    timeout: aiohttp.ClientTimeout,
    *,
    connections: int,
    receive_bytes: int | None = None,
    **options: Any,
) -> aiohttp.ClientSession:
    """A session inside the running loop: guarded, without cookies and proxies. `rules` None: the operator named the
    address, and it is not checked. `connections` 0: as many as there are requests. `receive_bytes`: see
    `guarded_connector`. `options`: further ones of aiohttp.ClientSession. Errors of aiohttp pass through."""
    return aiohttp.ClientSession(
        connector=guarded_connector(rules, resolver, limit=connections, receive_bytes=receive_bytes),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=timeout,
        trust_env=False,
        **options,
    )
