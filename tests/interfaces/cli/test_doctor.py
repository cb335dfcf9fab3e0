"""`stoa doctor`: what is wrong with a configuration, what to change, and an exit code."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from stoa.interfaces.cli.app import run

Rows = dict[tuple[str, str], dict[str, str]]


@pytest.fixture(autouse=True)
def _quick_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPA_ENABLED", "false")
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def doctor(capsys: pytest.CaptureFixture[str]) -> tuple[int, Rows]:
    code = run(["doctor", "--json"])
    rows = json.loads(capsys.readouterr().out)
    return code, {(row["part"], row["what"]): row for row in rows}


def test_doctor_of_a_developers_machine_fails_nothing(
    capsys: pytest.CaptureFixture[str], catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATALOGUE_PATH", str(catalogue))
    code, rows = doctor(capsys)
    assert code == 0
    assert {row["verdict"] for row in rows.values()} <= {"ok", "warn", "skip"}
    assert rows["catalogue", "tools"]["verdict"] == "ok"
    assert rows["policy", "laws"]["verdict"] == "ok"
    assert rows["data folder", "writable"]["verdict"] == "ok"


def test_doctor_shows_a_table_and_its_progress(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    shown = capsys.readouterr()
    assert "what to change" in shown.out
    assert "checking data folder ..." in shown.err


def test_doctor_names_settings_that_cannot_be_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "many")
    code, rows = doctor(capsys)
    assert code == 1
    assert "PORT" in rows["settings", "settings"]["reason"]


def test_doctor_names_settings_without_effect(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYCLOAK_REALM", "r")
    monkeypatch.setenv("KEYCLOCK_URL", "x")
    _, rows = doctor(capsys)
    assert rows["settings", "KEYCLOAK_REALM"]["verdict"] == "warn"
    assert "KEYCLOAK_URL" in rows["settings", "KEYCLOCK_URL"]["reason"]


def test_doctor_fails_for_what_cannot_be_reached_and_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("apiVersion: gostoa.dev/v1alpha1\nkind: Tool\nmetadata: {}\n")
    for name, value in {
        "CATALOGUE_PATH": str(broken),
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "KEYCLOAK_URL": "http://127.0.0.1:1",
        "PUBLIC_URL": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    code, rows = doctor(capsys)
    assert code == 1
    failed = {key[0] for key, row in rows.items() if row["verdict"] == "fail"}
    assert failed == {"catalogue", "redis", "kafka", "identity", "public URL"}
    assert all(row["remedy"] for row in rows.values() if row["verdict"] == "fail")
    assert "nothing listens" in rows["identity", "reachable"]["reason"]


def test_doctor_fails_for_a_data_folder_that_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "file" / "data"))
    (tmp_path / "file").write_text("")
    code, rows = doctor(capsys)
    assert code == 1
    assert rows["data folder", "writable"]["verdict"] == "fail"


@contextmanager
def _public(status: int, resource: str | None, *, has_health: bool = True) -> Generator[str]:
    """What answers at a public URL. `resource`: {url} is replaced by its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = f"http://127.0.0.1:{server.server_port}"
            said: dict[str, Any] = {"resource": (resource or "").format(url=url)}
            code = status
            if self.path == "/health":
                code, said = (200, {"status": "ok"}) if has_health else (502, {})
            body = json.dumps(said).encode()
            self.send_response(code)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.mark.parametrize(
    ("what", "verdict", "said", "arranged"),
    [
        ("metadata", "ok", "/mcp", (200, "{url}/mcp")),
        ("metadata", "fail", "421", (421, None)),
        ("metadata", "fail", "clients expect", (200, "https://internal:8080/mcp")),
        ("metadata", "fail", "answered 404", (404, None)),
    ],
)
def test_doctor_asks_the_gateway_by_its_public_name(
    what: str,
    verdict: str,
    said: str,
    arranged: tuple[int, str | None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _public(*arranged) as url:
        monkeypatch.setenv("PUBLIC_URL", url)
        code, rows = doctor(capsys)
    assert rows["public URL", what]["verdict"] == verdict
    assert said in rows["public URL", what]["reason"]
    assert code == (verdict == "fail")


def test_doctor_sees_that_a_proxy_keeps_paths_to_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with _public(200, "{url}/mcp", has_health=False) as url:
        monkeypatch.setenv("PUBLIC_URL", url)
        code, rows = doctor(capsys)
    assert code == 1
    assert "502" in rows["public URL", "health"]["reason"]
