"""Two gateways behind a real nginx, restarted one after the other under load: no call is lost."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import aiohttp
import pytest
from tests.e2e.manifests import tool, write
from tests.e2e.processes import GatewayProcess, Seen, Upstream, serving, until
from tests.live.servers import IS_REQUIRED, free_port, is_free

from stoa.infrastructure.oidc.dev_key import FILE_NAME

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CLIENTS = 12
REQUEST = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ask","arguments":{}}}'

RACES = 1
"""A request that nginx writes on an idle connection in the moment that the gateway closes it has no answer (RFC 9112
section 9.3.1): on a machine that is overloaded it happened once in five runs of some 15,000 calls."""

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        NGINX is None and not IS_REQUIRED, reason="nginx is not installed (tools/services/install.sh nginx)"
    ),
]


@contextlib.contextmanager
def nginx(folder: Path, ports: list[int]) -> Generator[str]:
    """Balances between `ports`, with connections that are kept; the URL. Calls are sent once, as nginx does by default
    with what is not idempotent, so each one that is lost shows."""
    port, folder = free_port(), folder / "nginx"
    folder.mkdir()
    temporary = "".join(f"{name}_temp_path {folder}/{name};" for name in ("proxy", "fastcgi", "uwsgi", "scgi"))
    servers = "".join(f"server 127.0.0.1:{one} max_fails=0;" for one in ports)
    (folder / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log info;"
        f"events {{ worker_connections 1024; }} http {{ access_log off; client_body_temp_path {folder}/body;"
        f"{temporary} upstream gateways {{ {servers} keepalive 16; }} server {{ listen 127.0.0.1:{port};"
        'location / { proxy_pass http://gateways; proxy_http_version 1.1; proxy_set_header Connection "";'
        "proxy_set_header Host localhost; } } }"
    )
    assert NGINX is not None
    process = subprocess.Popen([NGINX, "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")])
    try:
        until(lambda: not is_free(port), within=60)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


class Load:
    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        self.answers: Counter[str] = Counter()
        self.is_over = False

    async def run(self) -> None:
        async with aiohttp.ClientSession(self._url, headers=self._headers) as session:
            await asyncio.gather(*(self._call(session) for _ in range(CLIENTS)))

    async def _call(self, session: aiohttp.ClientSession) -> None:
        while not self.is_over:
            async with session.post("/mcp", data=REQUEST) as response:
                text = await response.text()
                is_good = response.status == 200 and "result" in json.loads(text)
                self.answers["good" if is_good else f"{response.status} {text[:80]}"] += 1


def _slow(seen: Seen) -> tuple[int, str, bytes]:
    return 200, "application/json", b'{"ok":true}'


async def test_rolling_restart_behind_nginx_loses_no_call(tmp_path: Path) -> None:
    settings = {"SHUTDOWN_DRAIN_SECONDS": "2", "RATE_LIMIT_ENABLED": "false"}
    homes = [tmp_path / name for name in ("one", "two")]
    for home in homes:
        home.mkdir()
    gateways = [GatewayProcess(home, settings) for home in homes]
    with Upstream(_slow).listening() as upstream, contextlib.ExitStack() as stack:
        for gateway in gateways:
            write(gateway, "ask.yaml", tool("ask", f"{upstream.url}/ask"))
            if gateway is gateways[1]:  # one key for the tokens of both
                gateway.data.mkdir()
                shutil.copy2(gateways[0].data / FILE_NAME, gateway.data)
            stack.enter_context(serving(gateway))
        url = stack.enter_context(nginx(tmp_path, [gateway.port for gateway in gateways]))
        load = Load(url, gateways[0].token("tenant-admin", "acme"))
        calling = asyncio.create_task(load.run())
        for gateway in (*gateways, *gateways):
            before = load.answers["good"]
            code = await asyncio.to_thread(gateway.stop)
            assert code == 0
            assert "Traceback" not in gateway.log
            await asyncio.to_thread(gateway.start)
            assert load.answers["good"] > before, "nothing was called meanwhile"
        load.is_over = True
        await calling
    assert sum(load.answers.values()) - load.answers["good"] <= RACES, load.answers
    recorded = sum(len(gateway.events()) for gateway in gateways)
    assert recorded == load.answers["good"]
