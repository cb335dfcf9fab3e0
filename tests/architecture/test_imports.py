"""Who may import whom, and what an embedding program has to install."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 100

EXTRAS = (
    "aiohttp", "aiokafka", "cyclopts", "dishka", "graphql", "grpc", "httptools", "httpx", "joserfc",
    "kubernetes_asyncio", "mcp", "mcp_types", "opentelemetry", "prometheus_client", "pydantic_settings", "quart",
    "redis", "rich", "structlog", "uvicorn", "uvloop", "wasmtime", "watchfiles", "yaml",
)  # fmt: skip

ONLY_THE_CORE = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"{{name}} is not installed", name=name)

sys.meta_path.insert(0, Absent())
"""

USE_EVERYTHING = """
import asyncio, importlib, pkgutil
import stoa.application, stoa.domain, stoa.testing

for package in (stoa.domain, stoa.application, stoa.testing):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)

from stoa.application import Gateway, Principal

gateway = Gateway()
gateway.tool(lambda: 42, name="answer")
outcome = asyncio.run(gateway.invoke("answer", {}, Principal.of("ann", roles=["viewer"])))
assert outcome.result.structured == 42
"""


def run(program: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_importing_the_core_imports_no_extra():
    loaded = run("import stoa.application, sys; print(*sys.modules)").split()
    tops = {name.partition(".")[0] for name in loaded}
    assert "stoa" in tops
    assert not tops & set(EXTRAS)
    assert not {name for name in loaded if name.startswith(("stoa.infrastructure", "stoa.interfaces"))}


def test_mounting_imports_no_web_framework_no_settings_and_no_adapter():
    loaded = run("import stoa.interfaces.asgi, sys; print(*sys.modules)").split()
    assert not {name.partition(".")[0] for name in loaded} & set(EXTRAS)
    unwanted = ("infrastructure", "testing", "interfaces.bootstrap", "interfaces.cli", "interfaces.rest")
    assert not {name for name in loaded if name.startswith(tuple(f"stoa.{part}" for part in unwanted))}
    assert "stoa.interfaces.settings" not in loaded


def test_a_gateway_without_kafka_does_not_import_its_client():
    loaded = run("import stoa.interfaces.bootstrap, sys; print(*sys.modules)").split()
    assert "stoa.infrastructure.outbox" in loaded
    assert not {name for name in loaded if name.startswith(("aiokafka", "stoa.infrastructure.kafka.publisher"))}


def test_the_core_works_where_no_extra_is_installed():
    run(ONLY_THE_CORE + USE_EVERYTHING)


def test_the_import_contracts_are_kept():
    linter = Path(sys.executable).with_name("lint-imports")
    if not linter.exists():
        pytest.skip("import-linter is not installed")
    finished = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert finished.returncode == 0, finished.stdout
    assert "0 broken" in finished.stdout
