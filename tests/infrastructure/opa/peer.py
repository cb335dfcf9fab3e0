"""An OPA server as its REST API is documented, evaluating the bundle in this process."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from stoa.infrastructure.opa.bundle import read_bundle
from stoa.infrastructure.opa.embedded import DEFAULT_BUNDLE
from stoa.infrastructure.opa.wasm import Compiler, WasmPolicy


class OpaPeer:
    """`answer`, when set, is sent instead of a decision: (status, body)."""

    def __init__(self, path: Path = DEFAULT_BUNDLE) -> None:
        bundle = read_bundle(path)
        compiler = Compiler()
        self.policy = WasmPolicy(compiler, compiler.compile(bundle.wasm), bundle.data)
        self.lock = threading.Lock()
        self.answer: tuple[int, bytes] | None = None
        self.asked = 0
        self.url = ""

    def evaluate(self, rule: str, body: bytes) -> dict[str, Any]:
        document = json.dumps(json.loads(body)["input"]).encode()
        with self.lock:
            self.asked += 1
            value = self.policy.evaluate(rule, document) if rule in self.policy.entrypoints else None
        return {} if value is None else {"result": value}


@contextmanager
def opa_peer() -> Iterator[OpaPeer]:
    peer = OpaPeer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, text = peer.answer or (
                200,
                json.dumps(peer.evaluate(self.path.removeprefix("/v1/data/"), body)).encode(),
            )
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that goes away in the middle is no news."""

    with Server(("127.0.0.1", 0), Handler) as server:
        peer.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield peer
        finally:
            server.shutdown()
            thread.join()
