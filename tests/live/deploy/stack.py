"""The services of compose.yaml as processes, each with the command, the environment and the files that it gives the
container, and what a user of the stack sees of them.

`python -m tests.live.deploy.stack FOLDER` runs in a network of its own (`unshare --net --mount`), in which every
service has its name and its port. It prints what it saw as JSON. Docker is not needed, nor any image: the programs are
those that tools/services installs. Grafana is missing there, and its files are checked elsewhere; Jaeger may be
missing; the topic is made by another program than the image's, with the same options.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import confluent_kafka
import httpx
import redis
import yaml
from tests.live.servers import INSTALLED, REPOSITORY, make_topic

STACK: dict[str, Any] = yaml.safe_load((REPOSITORY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
JAEGER = INSTALLED / "jaeger" / "bin" / "jaeger"
"""Built from its modules in minutes, so it may be missing (tools/services/jaeger)."""
STARTED = (
    *("redis", "opa", "kafka", "keycloak", "demo-apis"),
    *(("jaeger",) if JAEGER.exists() else ()),
    *("gateway", "prometheus"),
)
DASHBOARD = REPOSITORY / "deploy" / "charts" / "stoa-mcp-gateway" / "files" / "dashboard.json"
BIN = Path(sys.executable).parent
KEYCLOAK, KAFKA = INSTALLED / "keycloak", INSTALLED / "kafka" / "libs"
_JAVA = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xms64m", "-Xmx512m"]
_KEYCLOAK = [
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--add-opens=java.base/java.security=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
    "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
]


class Stack:
    """`folder` stands for the containers' own file systems."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> float:
        """Start a service and wait until its health check passes; returns the seconds that it took."""
        began = time.monotonic()
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                self._command(name), env=self._environment(name), cwd=self._own(name), stdout=log, stderr=log
            )
        until(lambda: self._is_healthy(name), f"{name} is not healthy", within=240)
        return round(time.monotonic() - began, 1)

    def run(self, name: str) -> int:
        """Run a service that ends by itself; the exit code."""
        if name == "kafka-topics":
            make_topic(**_options(SERVICES[name]["command"]))
            return 0
        run = subprocess.run(
            self._command(name), env=self._environment(name), cwd=self._own(name), timeout=120, check=False
        )
        return run.returncode

    def stop(self) -> dict[str, int]:
        """The exit codes, of the last that was started first."""
        codes: dict[str, int] = {}
        for name, process in reversed(self._processes.items()):
            process.terminate()
            try:
                codes[name] = process.wait(90)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[name] = process.wait()
        return codes

    def _own(self, name: str) -> Path:
        own = self.folder / name
        own.mkdir(exist_ok=True)
        return own

    def place(self, name: str, path: str) -> str:
        """The place of a container's path: what is mounted there, or a folder of its own."""
        for volume in SERVICES[name].get("volumes", ()):
            source, target = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).split(":")[:2]
            if path == target or path.startswith(f"{target}/"):
                at = REPOSITORY / source if source.startswith(".") else self.folder / "volumes" / source
                if not source.startswith("."):
                    at.mkdir(parents=True, exist_ok=True)
                return str(at) + path.removeprefix(target)
        return str(self._own(name) / path.lstrip("/"))

    def _environment(self, name: str) -> dict[str, str]:
        given = {"PATH": os.environ["PATH"], "HOME": str(self._own(name))}
        if name in {"gateway", "demo-apis", "demo-catalogue"}:
            given |= _of_image()
        for variable, value in SERVICES[name].get("environment", {}).items():
            given[variable] = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value))
        for variable in ("CATALOGUE_PATH", "DATA_DIR"):
            if variable in given:
                given[variable] = self.place(name, given[variable])
        return given

    def _command(self, name: str) -> list[str]:
        service = SERVICES[name]
        command = [str(part) for part in service.get("command", ())]
        match name:
            case "gateway":
                return [str(BIN / "stoa"), "serve"]
            case "demo-apis":
                program, *arguments = service["entrypoint"]
                return [str(BIN / program), *arguments]
            case "demo-catalogue":
                _, option, code = service["entrypoint"]
                return [sys.executable, option, code.replace("/catalogue", self.place(name, "/catalogue"))]
            case "opa":
                command[-1] = self.place(name, command[-1])
                return [str(INSTALLED / "opa" / "bin" / "opa"), *command]
            case "jaeger":
                option, path = command
                return [str(JAEGER), option, self.place(name, path)]
            case "prometheus":
                return [str(INSTALLED / "prometheus" / "usr" / "bin" / "prometheus"), *self._of_prometheus(command)]
            case "kafka":
                return [*_JAVA, "-cp", f"{KAFKA}/*", "kafka.Kafka", str(self._kafka_properties())]
            case "keycloak":
                return self._keycloak(command)
            case _:
                return command

    def _of_prometheus(self, command: list[str]) -> list[str]:
        """With a folder in which the two mounted files lie beside each other."""
        etc = self._own("prometheus") / "etc"
        etc.mkdir(exist_ok=True)
        for file in ("prometheus.yaml", "alerts.yaml"):
            shutil.copy(self.place("prometheus", f"/etc/prometheus/{file}"), etc / file)
        data = self.place("prometheus", "/prometheus")
        return [part.replace("/etc/prometheus", str(etc)).replace("=/prometheus", f"={data}") for part in command]

    def _kafka_properties(self) -> Path:
        """As the image makes them of its variables: `_` is a dot, `__` an underscore, `___` a dash."""
        path = self._own("kafka") / "server.properties"
        lines: list[str] = []
        for variable, value in SERVICES["kafka"]["environment"].items():
            key = variable.removeprefix("KAFKA_").lower()
            for mark, sign in (("___", "-"), ("__", "\0"), ("_", "."), ("\0", "_")):
                key = key.replace(mark, sign)
            lines.append(f"{key}={self.place('kafka', value) if key == 'log.dirs' else value}")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        storage = [*_JAVA, "-cp", f"{KAFKA}/*", "kafka.tools.StorageTool", "format", "--config", str(path)]
        subprocess.run([*storage, "--cluster-id", "c3RvYS1zZXJ2aWNlcy0wMQ"], check=True, stdout=subprocess.DEVNULL)
        return path

    def _keycloak(self, command: list[str]) -> list[str]:
        """The installed server was built with the build options of this environment, so it need not build itself."""
        home = self._own("keycloak")
        for part in ("lib", "conf", "providers", "themes"):
            (home / part).symlink_to(KEYCLOAK / part)
        (home / "data" / "import").mkdir(parents=True)
        realm = "/opt/keycloak/data/import/stoa-realm.json"
        shutil.copy(self.place("keycloak", realm), home / "data" / "import")
        places = [f"-Dkc.home.dir={home}", f"-Djboss.server.config.dir={home / 'conf'}"]
        start, *options = command
        runner = ["-cp", str(KEYCLOAK / "lib" / "quarkus-run.jar"), "io.quarkus.bootstrap.runner.QuarkusEntryPoint"]
        return [*_JAVA, *_KEYCLOAK, *places, *runner, start, "--optimized", *options]

    def _is_healthy(self, name: str) -> bool:
        code = self._processes[name].poll()
        if code is not None:
            raise AssertionError(f"{name} ended with {code}:\n{self.log(name)[-3000:]}")
        test = SERVICES[name].get("healthcheck", {}).get("test")
        if test is None:  # the image's own
            test = ["CMD", sys.executable, str(REPOSITORY / "deploy" / "image" / "healthcheck.py")]
        kind, *command = [part.replace("$$", "$") for part in test]
        assert kind == "CMD"
        programs = {"/opa": str(INSTALLED / "opa" / "bin" / "opa"), "python": sys.executable}
        command[0] = programs.get(command[0], command[0])
        run = subprocess.run(command, env=self._environment(name), capture_output=True, timeout=30, check=False)
        return run.returncode == 0

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")


def _of_image() -> dict[str, str]:
    """The variables that the Dockerfile sets."""
    text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8").rpartition("\nFROM ")[2]
    block = re.search(r"^ENV ((?:.*\\\n)*.*)$", text, re.MULTILINE)
    assert block is not None
    pairs = [line.strip(" \\").partition("=") for line in block[1].splitlines()]
    return {name: value for name, _, value in pairs if name != "PATH"}


def _options(command: list[str]) -> dict[str, Any]:
    """What kafka-topics is asked for."""
    given = dict(pairwise(command))
    assert {"--create", "--if-not-exists"} <= set(command)
    return {
        "servers": given["--bootstrap-server"],
        "name": given["--topic"],
        "partitions": int(given["--partitions"]),
    }


def until(question: Callable[[], Any], problem: str, *, within: float) -> Any:
    deadline = time.monotonic() + within
    while not (answer := question()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{problem} after {within} s")
        time.sleep(0.5)
    return answer


def token(user: str) -> str:
    form = {"grant_type": "password", "client_id": "stoa-cli", "username": user, "password": user, "scope": "openid"}
    answer = httpx.post("http://localhost:8081/realms/stoa/protocol/openid-connect/token", data=form, timeout=60)
    answer.raise_for_status()
    return str(answer.json()["access_token"])


def call(user: str, name: str, arguments: dict[str, Any]) -> Any:
    """The answer to tools/call, over MCP as the stack's users reach it."""
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
    headers = {"Authorization": f"Bearer {token(user)}", "Accept": "application/json, text/event-stream"}
    with httpx.Client(base_url="http://localhost:8080", headers=headers, timeout=60) as client:
        hello = {
            "jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "stack", "version": "1"},
            },
        }  # fmt: skip
        opened = client.post("/mcp", json=hello)
        opened.raise_for_status()
        if session := opened.headers.get("mcp-session-id"):
            client.headers["mcp-session-id"] = session
        client.headers["mcp-protocol-version"] = "2025-11-25"
        answer = client.post("/mcp", json=message).text
    lines = [line[5:] for line in answer.splitlines() if line.startswith("data:")]
    return json.loads(lines[-1] if lines else answer)


def events(count: int) -> list[Any]:
    """The first metering events on the topic."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": "kafka:9092", "group.id": "stack", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe(["stoa.metering.events"])
    seen: list[Any] = []
    deadline = time.monotonic() + 60
    while len(seen) < count and time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            seen.append(json.loads(message.value()))
    consumer.close()
    return seen


def prometheus(path: str, **query: str) -> Any:
    answer = httpx.get(f"http://prometheus:9090/api/v1/{path}", params=query, timeout=30).json()
    assert answer["status"] == "success", f"{query}: {answer}"
    return answer["data"]


def queries() -> dict[str, int]:
    """How many series each query of the dashboard gives, by panel and query."""
    panels = [p for p in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"] if p["type"] != "row"]
    replaced = {"$job": ".*gateway", "$instance": ".*", "$__rate_interval": "1m"}
    found: dict[str, int] = {}
    for panel in panels:
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in replaced.items():
                expression = expression.replace(variable, value)
            found[f"{panel['id']}{target['refId']} {panel['title']}"] = len(
                prometheus("query", query=expression)["result"]
            )
    return found


def watch(stack: Stack) -> dict[str, Any]:
    """Start everything, use it, and say what was seen."""
    seen: dict[str, Any] = {"healthy_after": {}}
    for name in STARTED:
        if name == "gateway":
            seen["one_shot"] = [stack.run("demo-catalogue"), stack.run("kafka-topics")]
        seen["healthy_after"][name] = stack.start(name)
    seen["stranger"] = httpx.post("http://localhost:8080/mcp", json={}, timeout=30).status_code
    seen["alice"] = call("alice", "crm-search", {"q": "weber"})
    seen["alice_billing"] = call(
        "alice", "billing-invoice", {"customerId": "CUS-1002", "amount": 12.5, "currency": "EUR"}
    )
    seen["bob"] = call("bob", "crm-search", {"q": "weber"})
    seen["events"] = events(2)
    seen["redis_keys"] = len(list(redis.Redis("redis", 6379).scan_iter(count=1000)))
    seen["opa_decisions"] = httpx.get("http://opa:8181/metrics", timeout=30).text.count('handler="v1/data"')
    until(_is_scraped_twice, "Prometheus has not scraped the gateway twice", within=90)
    call("alice", "crm-search", {"q": "weber"})
    seen["targets"] = {t["labels"]["job"]: t["health"] for t in prometheus("targets")["activeTargets"]}
    seen["rules"] = {rule["name"]: rule["health"] for group in prometheus("rules")["groups"] for rule in group["rules"]}
    seen["queries"] = queries()
    if "jaeger" in STARTED:
        seen["spans"] = until(spans, "Jaeger has no trace of a call", within=60)
    return seen


def spans() -> list[dict[str, Any]]:
    """The spans of the last trace of a call, as Jaeger's own API shows them."""
    query = {"service": "stoa-mcp-gateway", "limit": "20"}
    traces = httpx.get("http://jaeger:16686/api/traces", params=query, timeout=30).json()["data"]
    shown = [
        [
            {
                "name": span["operationName"],
                "has_parent": bool(span["references"]),
                "tags": {tag["key"]: tag["value"] for tag in span["tags"]},
            }
            for span in trace["spans"]
        ]
        for trace in traces
    ]
    return max(shown, key=len, default=[])


def _is_scraped_twice() -> bool:
    series = prometheus("query", query='count_over_time(stoa_invocation_seconds_count{door="mcp"}[2m])')["result"]
    health = {target["health"] for target in prometheus("targets")["activeTargets"]}
    return bool(series) and float(series[0]["value"][1]) >= 2 and health == {"up"}


def name_services(folder: Path) -> None:
    """Give every service its name, on the loopback address of this network, which is this process's alone."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.1 localhost " + " ".join([*SERVICES, socket.gethostname()]) + "\n", encoding="utf-8")
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)


def main() -> None:
    folder = Path(sys.argv[1])
    stack = Stack(folder)
    name_services(folder)
    try:
        seen = watch(stack)
    finally:
        codes = stack.stop()
    print(json.dumps({**seen, "exit_codes": codes}))


if __name__ == "__main__":
    main()
