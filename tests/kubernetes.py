"""An API server within this process: kmock speaks HTTP, and what Kubernetes promises about versions is added here.

The real kube-apiserver is in tests/live.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import aiohttp.web
import kmock
import yaml

from stoa.application.memory.bounded_executor import InThreadExecutor
from stoa.application.memory.clock import SystemClock
from stoa.infrastructure.kubernetes.api import Cluster, KubernetesConnection

Object = dict[str, Any]
_PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>status))?"
)
_NAMESPACES = "/api/v1/all-namespaces"
_END = {"k8s.io/initial-events-end": "true"}


class _Handler(kmock.KubernetesScaffold):
    """Its parser of paths does not know the list of all namespaces."""

    async def __call__(self, raw_request: aiohttp.web.BaseRequest) -> aiohttp.web.StreamResponse:
        if raw_request.path == "/api/v1/namespaces":
            raw_request = raw_request.clone(rel_url=raw_request.rel_url.with_path(_NAMESPACES, keep_query=True))
        return await super().__call__(raw_request)


class ApiServer:
    """Objects by their plural, namespace and name. Each change gets a new resourceVersion, and reaches every watch.

    `streams_lists`: it answers as a server of 1.34 and sends initial events; else as one of 1.26.
    """

    def __init__(self, *, streams_lists: bool = True) -> None:
        self.handler = _Handler()
        self.handler[re.compile(r"/apis?/.*")] << self._serve
        minor = "34" if streams_lists else "26"
        self.handler["get /version"] << {"major": "1", "minor": minor}
        self._streams_lists = streams_lists
        self._objects: dict[tuple[str, str, str], Object] = {}
        self._version = 0
        self._log: list[tuple[int, str, str, Object]] = []
        self._forgotten = 0
        self._watches: set[asyncio.Queue[tuple[str, Object] | None]] = set()
        self._of_watch: dict[asyncio.Queue[tuple[str, Object] | None], tuple[str, str, str]] = {}
        self.refuses_initial_events = False
        self.refused_status = 0
        """Writes of status are refused with it."""
        self.refused_identities = set[str]()
        """Holders of leases whose requests to renew are refused, as if they had lost the server."""
        self.refusals: dict[str, tuple[int, str]] = {}
        """By plural: the status and reason that its requests are refused with."""
        self.requests: list[tuple[str, str]] = []
        """Method and path of each request for objects so far; a watch has the method WATCH."""
        self.garbage: dict[str, bytes] = {}
        """By name: what is sent instead of the object's JSON."""

    def put(self, plural: str, content: Object, *, namespace: str = "", name: str = "") -> Object:
        """Create or replace an object, as kubectl apply does: its status stays."""
        metadata = {**content.get("metadata", {})}
        namespace, name = namespace or metadata.get("namespace", ""), name or metadata["name"]
        before = self._objects.get((plural, namespace, name))
        is_changed = before is None or before.get("spec") != content.get("spec")
        generation = (before["metadata"]["generation"] if before else 0) + is_changed
        status = {"status": before["status"]} if before and "status" in before else {}
        uid = before["metadata"]["uid"] if before else f"uid-{self._version}"
        metadata |= {"name": name, "uid": uid, "generation": generation}
        if namespace:
            metadata["namespace"] = namespace
        return self._store(
            plural, "ADDED" if before is None else "MODIFIED", {**content, **status, "metadata": metadata}
        )

    def delete(self, plural: str, name: str, *, namespace: str = "") -> None:
        gone = self._objects.pop((plural, namespace, name))
        self._version += 1
        self._tell("DELETED", plural, {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self._version)}})

    def mark_deleted(self, plural: str, name: str, *, namespace: str = "") -> None:
        """Its deletion was asked for, and finalizers keep it."""
        before = self._objects[plural, namespace, name]
        metadata = {**before["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
        self._store(plural, "MODIFIED", {**before, "metadata": metadata})

    def get(self, plural: str, name: str, *, namespace: str = "") -> Object:
        return deepcopy(self._objects[plural, namespace, name])

    def names(self, plural: str) -> list[str]:
        return sorted(name for kind, _, name in self._objects if kind == plural)

    def compact(self) -> None:
        """Forget all versions: a watch from any of them is answered 410."""
        self._forgotten = self._version
        self._log.clear()

    def break_watches(self) -> None:
        """End all watches as a server does that stops."""
        for watch in self._watches:
            watch.put_nowait(None)

    def _store(self, plural: str, event: str, content: Object) -> Object:
        self._version += 1
        stored = {**content, "metadata": {**content["metadata"], "resourceVersion": str(self._version)}}
        metadata = stored["metadata"]
        self._objects[plural, metadata.get("namespace", ""), metadata["name"]] = stored
        self._tell(event, plural, stored)
        return stored

    def _tell(self, event: str, plural: str, content: Object) -> None:
        self._log.append((self._version, event, plural, content))
        for watch, (watched, namespace, selector) in self._of_watch.items():
            if watched == plural and _matches(content, namespace, selector):
                watch.put_nowait((event, content))

    async def _serve(self, request: kmock.Request) -> Any:
        path = request.url.path.replace(_NAMESPACES, "/api/v1/namespaces")
        match = _PATH.fullmatch(path)
        assert match is not None, path
        plural, namespace, name = match["plural"], match["namespace"] or "", match["name"] or ""
        method = "WATCH" if request.params.get("watch") else request.method.value
        self.requests.append((method, path))
        if plural in self.refusals:
            status, reason = self.refusals[plural]
            raise kmock.KubernetesError(status=status, reason=reason, message=f"{plural}: {reason}")
        if self.refuses_initial_events and request.params.get("sendInitialEvents"):
            raise kmock.KubernetesError(status=422, reason="Invalid", message="sendInitialEvents: Forbidden")
        match request.method.value:
            case "GET" if request.params.get("watch"):
                return self._watch(request, plural, namespace)
            case "GET" if name:
                return self._found(plural, namespace, name)
            case "GET":
                return self._list(request, plural, namespace)
            case "POST":
                return self._create(plural, namespace, dict(request.data))
            case "PUT":
                return self._replace(plural, namespace, name, dict(request.data))
            case "PATCH":
                return self._patch(plural, namespace, name, json.loads(request.body), is_status=bool(match["sub"]))
            case other:
                raise AssertionError(f"{other} {path}")

    def _list(self, request: kmock.Request, plural: str, namespace: str) -> Object | bytes:
        every = self._selected(request, plural, namespace)
        start, limit = int(request.params.get("continue", "0")), int(request.params.get("limit", "1000"))
        page = every[start : start + limit]
        rest = {"continue": str(start + limit)} if start + limit < len(every) else {}
        metadata = {"resourceVersion": str(self._version), **rest}
        items = b",".join(self._json_of(one) for one in page)
        return b'{"items":[' + items + b'],"metadata":' + json.dumps(metadata).encode() + b"}"

    async def _watch(self, request: kmock.Request, plural: str, namespace: str) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[tuple[str, Object] | None] = asyncio.Queue()
        selector = _selector(request)
        since = request.params.get("resourceVersion")
        if since is not None and int(since) < self._forgotten:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            yield json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n"
            return
        if since is not None:
            for version, event, watched, content in self._log:
                if version > int(since) and watched == plural and _matches(content, namespace, selector):
                    queue.put_nowait((event, content))
        else:
            for content in self._selected(request, plural, namespace):
                queue.put_nowait(("ADDED", content))
            if request.params.get("sendInitialEvents"):
                bookmark = {"metadata": {"resourceVersion": str(self._version), "annotations": _END}}
                queue.put_nowait(("BOOKMARK", bookmark))
        self._watches.add(queue)
        self._of_watch[queue] = plural, namespace, selector
        try:
            yield b""
            while (item := await queue.get()) is not None:
                yield b'{"type":"' + item[0].encode() + b'","object":' + self._json_of(item[1]) + b"}\n"
        finally:
            self._watches.discard(queue)
            self._of_watch.pop(queue, None)

    def _json_of(self, content: Object) -> bytes:
        return self.garbage.get(content["metadata"].get("name", "")) or json.dumps(content).encode()

    def _selected(self, request: kmock.Request, plural: str, namespace: str) -> list[Object]:
        selector = _selector(request)
        return [
            content
            for (kind, _, _), content in sorted(self._objects.items())
            if kind == plural and _matches(content, namespace, selector)
        ]

    def _found(self, plural: str, namespace: str, name: str) -> Object:
        if (plural, namespace, name) not in self._objects:
            raise kmock.KubernetesError(status=404, reason="NotFound", message=f'{plural} "{name}" not found')
        return self._objects[plural, namespace, name]

    def _create(self, plural: str, namespace: str, content: Object) -> Object:
        metadata = content["metadata"]
        name = metadata.get("name") or f"{metadata['generateName']}{self._version}"
        if (plural, namespace, name) in self._objects:
            raise kmock.KubernetesError(status=409, reason="AlreadyExists", message=f"{name} already exists")
        return self.put(plural, content, namespace=namespace, name=name)

    def _replace(self, plural: str, namespace: str, name: str, content: Object) -> Object:
        self._check_version(self._found(plural, namespace, name), content)
        if content.get("spec", {}).get("holderIdentity") in self.refused_identities:
            raise kmock.KubernetesError(status=503, reason="ServiceUnavailable", message="away")
        return self.put(plural, content, namespace=namespace, name=name)

    def _patch(self, plural: str, namespace: str, name: str, patch: Object, *, is_status: bool) -> Object:
        before = self._found(plural, namespace, name)
        if self.refused_status:
            raise kmock.KubernetesError(status=self.refused_status, reason="Forbidden", message="status: Forbidden")
        self._check_version(before, patch)
        assert is_status, "the gateway writes status alone"
        status = {
            key: value for key, value in {**before.get("status", {}), **patch["status"]}.items() if value is not None
        }
        return self._store(plural, "MODIFIED", {**before, "status": status})

    def _check_version(self, before: Object, content: Object) -> None:
        wanted = content.get("metadata", {}).get("resourceVersion")
        if wanted is not None and wanted != before["metadata"]["resourceVersion"]:
            raise kmock.KubernetesError(status=409, reason="Conflict", message="the object has been modified")


def _selector(request: kmock.Request) -> str:
    return request.params.get("fieldSelector") or request.params.get("labelSelector") or ""


def _matches(content: Object, namespace: str, selector: str) -> bool:
    metadata = content["metadata"]
    if namespace and metadata.get("namespace") != namespace:
        return False
    key, _, value = selector.partition("=")
    if key == "metadata.name":
        return bool(metadata["name"] == value)
    return not selector or metadata.get("labels", {}).get(key) == value


def kubeconfig(folder: Path, url: str) -> Path:
    """A kubeconfig with a context for this server and the token `secret`."""
    path = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": {"token": "secret"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


@asynccontextmanager
async def serving(server: ApiServer) -> AsyncIterator[str]:
    """The URL of the server, which listens on a loopback port."""
    async with server.handler, kmock.Server(server.handler) as running:
        yield str(running.url)
        server.break_watches()


@asynccontextmanager
async def cluster_at(folder: Path, url: str, **options: Any) -> AsyncIterator[Cluster]:
    """A cluster as the adapters share it."""
    connection = KubernetesConnection(kubeconfig(folder, url))
    try:
        yield Cluster(connection, **{"clock": SystemClock(), "executor": InThreadExecutor(), **options})
    finally:
        await connection.close()
