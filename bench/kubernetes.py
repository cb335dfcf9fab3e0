"""`python -m bench.kubernetes`: the catalogue in a real cluster, synchronised from cold, edited and left alone.

A kube-apiserver with its etcd (`tools/services/install.sh kubernetes`), one gateway with one worker, a load of calls.
`--descriptions FOLDER`: real OpenAPI documents for the ToolSets, those of up to 900 KB; without it, one that is made.
"""

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from tests.e2e.manifests import owned, tool, write
from tests.e2e.processes import GatewayProcess, Upstream, serving
from tests.e2e.wire import ENVELOPE, STATELESS
from tests.live.kubernetes.cluster import ACCOUNT, ApiServer, cluster

TOOLS, SETS = 1_000, 50
LARGEST_BYTES = 900_000
"""A ConfigMap holds 1 MiB."""
CHANGES = 20
EDITS_PER_SECOND, EDIT_SECONDS = 100, 30
CALLS_PER_SECOND = 50
REST_SECONDS = 120
SOON = 120.0
NAMESPACE = "tenant-acme"
_API = f"/apis/gostoa.dev/v1alpha1/namespaces/{NAMESPACE}"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.kubernetes", description=__doc__)
    parser.add_argument("--descriptions", type=Path, help="folder with OpenAPI documents, *.json, *.yaml")
    parser.add_argument("--away", type=float, metavar="SECONDS", help="measure an outage of the API server instead")
    options = parser.parse_args(arguments)
    _step_back()
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder) / "cluster") as server:
        _step_forward()
        home = Path(folder) / "gateway"
        if options.away is None:
            rows = asyncio.run(_measure(server, home, options.descriptions))
        else:
            rows = asyncio.run(_outage(server, home, options.away))
    table = Table("figure", "value")
    for figure, value in rows:
        table.add_row(figure, value)
    Console(width=110).print(table)
    return 0


def _settings(server: ApiServer, home: Path) -> dict[str, str]:
    return {
        "K8S_WATCHER_ENABLED": "true",
        "KUBECONFIG_PATH": str(server.account(home)),
        "K8S_LEASE_NAMESPACE": "stoa-system",
        "RATE_LIMIT_ENABLED": "false",
    }


async def _outage(server: ApiServer, home: Path, seconds: float) -> list[tuple[str, str]]:
    """The API server is killed, an object is deleted behind its back, and it comes back after `seconds`."""
    home.mkdir()
    with Upstream().listening() as upstream:
        async with _administrator(server.url, _certificate(server)) as admin:
            for name in ("tool-0", "gone"):
                await _put(admin, name, upstream.url, 0)
        gateway = GatewayProcess(home, _settings(server, home), sources=())
        with serving(gateway, within=SOON):
            before = await _calls(gateway, 15.0, tools=1)
            server.kill()
            server.etcd.delete(f"/registry/gostoa.dev/tools/{NAMESPACE}/gone")
            during = await _calls(gateway, seconds, tools=1)
            status, findings = gateway.get("/ready")[0], gateway.ready()["kubernetes"]["findings"]
            await asyncio.to_thread(server.start)
            began = time.perf_counter()
            async with httpx.AsyncClient(trust_env=False, timeout=SOON) as client:
                while await _call(client, gateway, "gone") is not None:
                    await asyncio.sleep(0.05)
            caught_up = time.perf_counter() - began
    made = int(seconds * CALLS_PER_SECOND)
    return [
        (f"API server away for {seconds:g} s: calls answered", f"{len(during)} of {made}"),
        ("p50, p99 of calls before", _percentiles(before)),
        ("p50, p99 of calls meanwhile", _percentiles(during)),
        ("/ready", f"{status}, {len(findings)} findings"),
        ("caught up after its return (first answer of /readyz)", f"{caught_up:.1f} s"),
    ]


async def _measure(server: ApiServer, home: Path, descriptions: Path | None) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    home.mkdir()
    with Upstream().listening() as upstream:
        async with _administrator(server.url, _certificate(server)) as admin:
            operations = await _fill(admin, upstream.url, _documents(descriptions))
            gateway = GatewayProcess(home, _settings(server, home), sources=())
            with serving(gateway, within=SOON):
                detail = gateway.ready()["catalogue"]["detail"]
                rows.append(
                    (f"cold start, {TOOLS:,} Tools and {SETS} ToolSets ({operations})", f"{gateway.ready_after:.1f} s")
                )
                rows.append(("CPU of it, without the process that reads manifests", f"{gateway.cpu_seconds():.1f} s"))
                rows.append(("catalogue", detail))
                rows.append(("memory of the worker", f"{gateway.memory_mib():.0f} MiB"))
                rows.append(("all statuses written after", f"{await _seconds_until_told(admin):.0f} s"))
                rows.append(("memory then", f"{gateway.memory_mib():.0f} MiB"))
                rows += await _requests_at_rest(server)
                rows += await _changes(admin, gateway, upstream.url)
                rows += await _edits(server, admin, gateway, upstream.url)
            rows += await _control(server, home.with_name("control"), upstream.url)
    return rows


def _certificate(server: ApiServer) -> str:
    return str(server.folder / "data" / "certs" / "apiserver.crt")


@asynccontextmanager
async def _administrator(server: str, certificate: str) -> AsyncGenerator[httpx.AsyncClient]:
    headers = {"Authorization": "Bearer stoa-admin-token"}
    context = ssl.create_default_context(cafile=certificate)
    async with httpx.AsyncClient(base_url=server, verify=context, headers=headers, timeout=60) as admin:
        yield admin


def _documents(folder: Path | None) -> list[tuple[str, str]]:
    """Names and texts of the descriptions."""
    if folder is None:
        paths = {f"/p{number}": {"get": {"operationId": f"get{number}", "responses": {}}} for number in range(50)}
        return [
            ("made.json", json.dumps({"openapi": "3.1.0", "info": {"title": "made", "version": "1"}, "paths": paths}))
        ]
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in {".json", ".yaml", ".yml"}]
    small = [path for path in files if path.is_file() and path.stat().st_size <= LARGEST_BYTES]
    texts = ((path, path.read_text(encoding="utf-8", errors="replace")) for path in small)
    found = [
        (f"api{path.suffix}", text) for path, text in texts if "openapi" in text[:2000] or "swagger" in text[:2000]
    ]
    return found or sys.exit(f"{folder}: no OpenAPI documents")


async def _fill(admin: httpx.AsyncClient, url: str, documents: list[tuple[str, str]]) -> str:
    """The manifests of the measurement; says how large their descriptions are."""
    chosen = list(itertools.islice(itertools.cycle(documents), SETS))
    for number, (entry, text) in enumerate(chosen):
        name = f"api-{number}"
        config_map = {"metadata": {"name": name}, "data": {entry: text}}
        (await admin.post(f"/api/v1/namespaces/{NAMESPACE}/configmaps", json=config_map)).raise_for_status()
        spec = {"openAPISpec": {"configMapRef": {"name": name, "key": entry}}, "baseURL": url}
        naming = {"prefix": f"s{number}_"}
        content = {"apiVersion": "gostoa.dev/v1alpha1", "kind": "ToolSet", "metadata": {"name": name}}
        made = await admin.post(f"{_API}/toolsets", json={**content, "spec": {**spec, "naming": naming}})
        made.raise_for_status()
    for start in range(0, TOOLS, 20):
        made_tools = [_put(admin, f"tool-{number}", url, 0) for number in range(start, start + 20)]
        await asyncio.gather(*made_tools)
    return f"{sum(len(text) for _, text in chosen) / 1e6:.1f} MB of descriptions"


async def _put(admin: httpx.AsyncClient, name: str, url: str, version: int) -> None:
    """Create or change a Tool by server-side apply."""
    manifest = tool(name, f"{url}/{name}", description=f"version {version}")
    headers = {"Content-Type": "application/apply-patch+yaml"}
    query = {"fieldManager": "bench", "force": "true"}
    answer = await admin.patch(f"{_API}/tools/{name}", params=query, content=json.dumps(manifest), headers=headers)
    answer.raise_for_status()


async def _seconds_until_told(admin: httpx.AsyncClient) -> float:
    """The seconds until the status of each manifest is about its present version."""
    began = time.monotonic()
    for plural in ("tools", "toolsets"):
        async with asyncio.timeout(SOON):
            while not all(map(_is_told, (await admin.get(f"{_API}/{plural}")).json()["items"])):
                await asyncio.sleep(0.5)
    return time.monotonic() - began


def _is_told(manifest: dict[str, Any]) -> bool:
    return bool(manifest.get("status", {}).get("observedGeneration") == manifest["metadata"]["generation"])


async def _requests_at_rest(server: ApiServer) -> list[tuple[str, str]]:
    await asyncio.sleep(10)
    before = len(_asked(server))
    await asyncio.sleep(REST_SECONDS)
    asked = _asked(server)[before:]
    per_hour = len(asked) * 3600 / REST_SECONDS
    writes = sum(entry["verb"] == "patch" for entry in asked)
    watches = SETS + 5
    return [
        ("requests an hour at rest, without new watches", f"{per_hour:.0f}, of which {writes} write status"),
        ("new watches an hour", f"{watches * 3600 / 2700:.0f} ({watches} watches of 30 to 60 minutes)"),
    ]


def _asked(server: ApiServer) -> list[dict[str, Any]]:
    return [entry for entry in server.audited() if entry["user"]["username"] == ACCOUNT]


async def _changes(admin: httpx.AsyncClient, gateway: GatewayProcess, url: str) -> list[tuple[str, str]]:
    """The time from the API server's answer to `list_changed` at a client."""
    waited: list[float] = []
    for number in range(CHANGES):
        heard = asyncio.Event()
        async with _listening(gateway, heard):
            await _put(admin, f"new-{number}", url, 0)
            began = time.perf_counter()
            async with asyncio.timeout(SOON):
                await heard.wait()
            waited.append(time.perf_counter() - began)
    waited.sort()
    shown = f"median {waited[len(waited) // 2] * 1e3:.0f} ms, longest {waited[-1] * 1e3:.0f} ms"
    return [(f"change to list_changed, {CHANGES} times", shown)]


@asynccontextmanager
async def _listening(gateway: GatewayProcess, heard: asyncio.Event) -> AsyncGenerator[None]:
    params = {"notifications": {"toolsListChanged": True}, "_meta": ENVELOPE}
    message = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
    headers = {**_headers(gateway), "Mcp-Method": "subscriptions/listen"}
    ready = asyncio.Event()

    async def follow(client: httpx.AsyncClient) -> None:
        async with client.stream("POST", f"{gateway.url}/mcp", json=message, headers=headers, timeout=SOON) as response:
            async for line in response.aiter_lines():
                ready.set()
                if "notifications/tools/list_changed" in line:
                    heard.set()
                    return

    async with httpx.AsyncClient(trust_env=False) as client:
        following = asyncio.create_task(follow(client))
        await ready.wait()
        yield
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def _headers(gateway: GatewayProcess) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {gateway.token('tenant-admin', 'acme')}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": STATELESS,
    }


async def _edits(
    server: ApiServer, admin: httpx.AsyncClient, gateway: GatewayProcess, url: str
) -> list[tuple[str, str]]:
    """Edits at a steady rate beside a load of calls."""
    before = await _calls(gateway, float(EDIT_SECONDS))
    spent = gateway.cpu_seconds()
    took, during = await _calls_beside_edits(server, gateway, url)
    edited = time.perf_counter()
    await _put(admin, "the-last", url, 0)
    async with httpx.AsyncClient(trust_env=False, timeout=SOON) as client:
        while await _call(client, gateway, "the-last") is None:
            await asyncio.sleep(0.02)
    caught_up = time.perf_counter() - edited
    spent = gateway.cpu_seconds() - spent
    told = await _seconds_until_told(admin)
    count = EDITS_PER_SECOND * EDIT_SECONDS
    return [
        (f"{EDITS_PER_SECOND} edits a second for {EDIT_SECONDS} s took", f"{took:.1f} s"),
        ("CPU of the gateway meanwhile", f"{spent:.1f} s, {spent / count * 1e3:.1f} ms an edit"),
        ("the last edit is callable after", f"{caught_up:.2f} s"),
        (f"the statuses of all {TOOLS:,} edited tools are right after", f"{told:.0f} s"),
        (f"p50, p99 of {CALLS_PER_SECOND} calls/s before", _percentiles(before)),
        ("p50, p99 of calls meanwhile", _percentiles(during)),
    ]


async def _control(server: ApiServer, home: Path, url: str) -> list[tuple[str, str]]:
    """The same calls beside the same edits, for a gateway that follows no cluster: what the API server's own work costs
    them where it shares the processors."""
    home.mkdir()
    gateway = GatewayProcess(home, {"RATE_LIMIT_ENABLED": "false"})
    manifests = [owned(tool(f"tool-{number}", f"{url}/tool-{number}"), "acme") for number in range(TOOLS)]
    write(gateway, "tools.yaml", *manifests)
    with serving(gateway, within=SOON):
        before = await _calls(gateway, float(EDIT_SECONDS))
        took, during = await _calls_beside_edits(server, gateway, url)
    return [
        ("control, a gateway that follows no cluster: the same edits took", f"{took:.1f} s"),
        ("p50, p99 of its calls before", _percentiles(before)),
        ("p50, p99 of its calls meanwhile", _percentiles(during)),
    ]


async def _calls_beside_edits(server: ApiServer, gateway: GatewayProcess, url: str) -> tuple[float, list[float]]:
    """Seconds that the edits took, and the latencies of the calls of the first EDIT_SECONDS."""
    editor = multiprocessing.get_context("spawn").Process(target=_editor, args=(server.url, _certificate(server), url))
    editor.start()
    began = time.perf_counter()
    load = asyncio.create_task(_calls(gateway, float(EDIT_SECONDS)))
    await asyncio.to_thread(editor.join)
    if editor.exitcode:
        sys.exit("the edits failed")
    took = time.perf_counter() - began
    return took, await load


def _editor(server: str, certificate: str, url: str) -> None:
    """The edits, in a process of their own: its work is not to delay the calls that are timed."""
    _step_back()
    asyncio.run(_edit(server, certificate, url))


async def _edit(server: str, certificate: str, url: str) -> None:
    async with _administrator(server, certificate) as admin:
        began = time.perf_counter()
        pending: set[asyncio.Task[None]] = set()
        for number in range(EDITS_PER_SECOND * EDIT_SECONDS):
            await asyncio.sleep(max(0.0, began + number / EDITS_PER_SECOND - time.perf_counter()))
            edit = asyncio.create_task(_put(admin, f"tool-{number % TOOLS}", url, number + 1))
            pending.add(edit)
            edit.add_done_callback(pending.discard)
        await asyncio.gather(*pending)


def _step_back() -> None:
    """Let the gateway go first, for this process and those that it starts: the API server shares its processors with
    the gateway here, as it does nowhere else."""
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _step_forward() -> None:
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


async def _calls(gateway: GatewayProcess, seconds: float, *, tools: int = TOOLS) -> list[float]:
    """Latencies of calls at a steady rate."""
    latencies: list[float] = []
    async with httpx.AsyncClient(trust_env=False, timeout=SOON) as client:
        began = time.perf_counter()
        for number in range(int(seconds * CALLS_PER_SECOND)):
            await asyncio.sleep(max(0.0, began + number / CALLS_PER_SECOND - time.perf_counter()))
            latency = await _call(client, gateway, f"tool-{number % tools}")
            if latency is not None:
                latencies.append(latency)
    return sorted(latencies)


_HEADERS: dict[tuple[int, int], dict[str, str]] = {}
"""By the gateway's port and the minute: tokens expire after ten."""


async def _call(client: httpx.AsyncClient, gateway: GatewayProcess, name: str) -> float | None:
    """Seconds of one call; None: there is no such tool."""
    key = (gateway.port, int(time.monotonic() // 60))
    if key not in _HEADERS:
        _HEADERS[key] = _headers(gateway)
    params = {"name": name, "arguments": {}, "_meta": ENVELOPE}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    began = time.perf_counter()
    sent = {**_HEADERS[key], "Mcp-Method": "tools/call", "Mcp-Name": name}
    answer = await client.post(f"{gateway.url}/mcp", json=message, headers=sent)
    return time.perf_counter() - began if "result" in answer.json() else None


def _percentiles(latencies: list[float]) -> str:
    if not latencies:
        return "no call was answered"
    middle, tail = latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)]
    return f"{middle * 1e3:.1f} ms, {tail * 1e3:.1f} ms"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
