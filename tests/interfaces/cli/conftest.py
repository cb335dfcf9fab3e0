import json
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tests.interfaces.served import manifest

from stoa.interfaces.settings import Settings


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing but what a test says reaches its commands; what they leave behind is here."""
    for name in (*Settings.model_fields, "stoa_token"):
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path / "data"


class _Echo(BaseHTTPRequestHandler):
    """Answers with the path that was asked for; as text below /text, with 404 below /missing."""

    def do_GET(self) -> None:
        is_text = self.path.startswith("/text")
        body = b"plain words" if is_text else json.dumps({"path": self.path}).encode()
        self.send_response(404 if self.path.startswith("/missing") else 200)
        self.send_header("content-type", "text/plain" if is_text else "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def upstream() -> Generator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def catalogue(tmp_path: Path, upstream: str) -> Path:
    """A file with tools of the tenant alpha, and a global one."""
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "id": {"type": "integer"},
            "deep": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "q": {"type": "string"},
        },
    }
    documents = [
        manifest("search", f"{upstream}/search", "alpha", inputSchema=schema, displayName="Search things"),
        manifest("words", f"{upstream}/text", "alpha"),
        manifest("missing", f"{upstream}/missing", "alpha"),
        manifest("change", f"{upstream}/change", "alpha", annotations={"readOnlyHint": False}),
        manifest("everywhere", f"{upstream}/all"),
    ]
    path = tmp_path / "catalogue.yaml"
    path.write_text("\n---\n".join(documents), encoding="utf-8")
    return path
