"""What is imported, and when: imports are most of what a start costs.

Each program here runs in a process of its own, which tells what it has imported.
"""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from stoa.interfaces.cli.app import COMMANDS

TECHNOLOGIES = {
    *("aiohttp", "aiokafka", "asyncio", "cryptography", "cyclopts", "dishka", "flask", "httpx", "hypercorn"),
    *("fastavro", "graphql", "grpc", "grpc_tools", "jinja2"),
    *("joserfc", "jsonschema_rs", "mcp_types", "prometheus_client", "pydantic", "pydantic_settings", "quart", "redis"),
    *("rich", "structlog", "uvicorn", "uvloop", "wasmtime", "watchfiles", "werkzeug", "yaml"),
}
GREETING = {
    *("stoa.domain", "stoa.domain.schema", "stoa.domain.schema.json_value"),
    *("stoa.domain.access", "stoa.domain.access.refusal_reason"),
    *("stoa.interfaces", "stoa.interfaces.release", "stoa.interfaces.stdio"),
    *(f"stoa.interfaces.wire{name}" for name in ("", ".json_text", ".revisions")),
    *(f"stoa.interfaces.cli{name}" for name in ("", ".app", ".spec_options", ".stdio")),
    *(f"stoa.interfaces.mcp{name}" for name in ("", ".jsonrpc", ".transports", ".wire")),
    *(f"stoa.interfaces.mcp.jsonrpc.{name}" for name in ("lines", "messages")),
    *(f"stoa.interfaces.mcp.transports.{name}" for name in ("front", "stdio_connection")),
    *(f"stoa.interfaces.mcp.wire.{name}" for name in ("envelope", "headers", "introduction")),
}
BASE = {
    *("asyncio", "cryptography", "cyclopts", "dishka", "jsonschema_rs", "prometheus_client", "pydantic"),
    *("pydantic_settings", "rich", "structlog", "watchfiles", "yaml"),
}
"""What the settings and the container of every command that has a gateway need."""
IDENTITY = BASE | {"joserfc"}
GATEWAY = IDENTITY | {"httpx", "wasmtime"}


def modules(program: str, home: Path, *arguments: str) -> set[str]:
    """The modules that the program has imported, `PROGRAM\\nprint(...)` with its arguments."""
    tell = "import json, sys; open('modules', 'w').write(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"import atexit\natexit.register(lambda: exec({tell!r}))\n{program}", *arguments],
        cwd=home,
        env={"DATA_DIR": str(home / "data")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (home / "modules").exists(), done.stderr.decode()
    return set(json.loads((home / "modules").read_text()))


def technologies(imported: set[str]) -> set[str]:
    return TECHNOLOGIES & {name.partition(".")[0] for name in imported}


def test_start_up_of_stdio_has_imported_next_to_nothing_when_it_greets(tmp_path: Path) -> None:
    imported = modules(
        """
from stoa.interfaces.cli.app import app
from stoa.interfaces.cli import stdio
hello = b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}\\n'
answers, chunks = [], [b"", hello]
from stoa.interfaces.mcp.transports.front import Front
from stoa.interfaces.mcp.wire.introduction import Introduction
Front(Introduction("1", has_sessions=True), answers.append).serve(chunks.pop)
assert b"serverInfo" in answers[0]
""",
        tmp_path,
    )
    assert technologies(imported) == {"cyclopts"}
    assert {name for name in imported if name.startswith("stoa.")} == GREETING


COMMAND = "import sys\nfrom stoa.interfaces.cli.app import run\nsys.exit(run(sys.argv[1:]))"


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--version"], {"cyclopts", "rich"}),
        (["--help"], {"cyclopts", "rich"}),
        (["stdio", "--help"], {"cyclopts", "rich"}),
        (["usage"], BASE),
        (["token", "--role", "viewer"], IDENTITY),
        (["tools", "--catalogue", "."], GATEWAY),
        (["call", "--help"], BASE),
        (["convert", "--help"], BASE),
        (["policy", "--help"], BASE),
        (["stdio", "--role", "viewer"], GATEWAY),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",  # sets have no order
)
def test_start_up_of_a_command_imports_what_it_uses(tmp_path: Path, arguments: list[str], allowed: set[str]) -> None:
    assert technologies(modules(COMMAND, tmp_path, *arguments)) <= allowed


PRELOAD = """
import asyncio, os, sys
from stoa.interfaces.bootstrap import create_app, preload
from stoa.interfaces.settings import Settings
os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.getcwd()
preload(Settings())
import threading
assert threading.active_count() == 1, threading.enumerate()
assert len(os.listdir("/proc/self/task")) == 1 or sys.platform != "linux"
before = set(sys.modules)

async def start():
    app, came = create_app(), asyncio.Queue()
    for kind in ("startup", "shutdown"):
        came.put_nowait({"type": f"lifespan.{kind}"})
    async def send(message):
        assert message["type"].endswith("complete"), message
    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, came.get, send)

asyncio.run(start())
late = sorted(name for name in set(sys.modules) - before if name.partition(".")[0] in LATE)
assert not late, late
"""


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OPA_ENABLED": "false"},
        {"IDENTITY_PROVIDER": "none"},
        {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"},
        {"REDIS_URL": "redis://127.0.0.1:1/0"},
    ],
    ids=str,
)
def test_start_up_of_a_worker_imports_nothing_that_was_not_imported_before_the_fork(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    program = f"import os\nos.environ |= {environment!r}\nLATE = {TECHNOLOGIES | {'stoa'}!r}\n{PRELOAD}\nprint('well')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.endswith(b"well\n"), done.stderr.decode()


def test_start_up_of_grpc_tools_imports_grpcio_with_the_first_use(tmp_path: Path) -> None:
    imported = modules(
        """
import asyncio, sys
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.operations.tool import Tool
from stoa.infrastructure.grpc import GrpcBackend
from stoa.infrastructure.grpc.binding import GrpcBinding

binding = GrpcBinding(
    target="grpc://127.0.0.1:1", service="a.B", method="C", request_type="a.D", response_type="a.D", descriptors=""
)
call = GrpcBackend(InMemoryCredentialSource()).prepare(Tool(name="a", binding=binding))
assert not {"grpc", "google.protobuf"} & set(sys.modules)
try:
    call.preview({})
except Exception:
    pass  # the descriptors are empty
""",
        tmp_path,
    )
    assert "grpc" in imported


def test_start_up_of_kafka_tools_imports_aiokafka_with_the_first_use(tmp_path: Path) -> None:
    imported = modules(
        """
import sys
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.domain.operations.tool import Tool
from stoa.infrastructure.kafka import KafkaBackend
from stoa.infrastructure.kafka.binding import KafkaBinding

binding = KafkaBinding(bootstrap_servers=("127.0.0.1:1",), action="produce", topic="t")
call = KafkaBackend(InMemoryCredentialSource()).prepare(Tool(name="a", binding=binding))
assert not {"aiokafka", "fastavro"} & set(sys.modules)
call.preview({"value": 1})
""",
        tmp_path,
    )
    assert "aiokafka" in imported


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_every_command_with_the_first_sentences_of_its_own(name: str) -> None:
    path, summary = COMMANDS[name]
    module, _, attribute = path.partition(":")
    target = getattr(importlib.import_module(f"stoa.interfaces.cli.{module}"), attribute)
    documented = target.help if attribute == "app" else target.__doc__.partition("\n\n")[0]
    assert " ".join(documented.split()) == summary
