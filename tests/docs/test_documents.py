"""What README and docs show is executed: manifests are parsed by their parsers, commands and programs run, requests are
answered by a running gateway. NOT_RUN lists what is only checked, with the reason."""

import ast
import asyncio
import inspect
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import tarfile
import types
from collections.abc import Generator
from functools import reduce
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import yaml
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from tests.docs.markdown import ROOT, Block, blocks, blocks_of, table
from tests.docs.place import NO_BROKER, Place, a_place, started
from tests.e2e.processes import STOA
from tests.interfaces.doors import send
from tests.live.servers import free_port

from stoa import application
from stoa.application import Context, Gateway, Principal, TextContent
from stoa.application.manifests.parse import API_VERSION, BUILT_IN_PARTS, ManifestParts, parse_manifest
from stoa.application.manifests.prices import parse_budgets, parse_price_list
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.client_requests import sampling
from stoa.domain.client_requests.client_request import ClientCapabilities, ClientRequest
from stoa.domain.client_requests.sampling import SamplingAnswer, SamplingRequest, ToolUse
from stoa.domain.metering.event import Status
from stoa.infrastructure.files.manifests import read_document
from stoa.infrastructure.graphql.manifest import GraphQlSource, GraphQlToolManifest
from stoa.infrastructure.grpc.manifest import GrpcSource
from stoa.infrastructure.kafka.manifest import KafkaManifest, KafkaSource
from stoa.infrastructure.mcp_upstream.manifest import McpSource, McpToolManifest
from stoa.interfaces.cli.app import run
from stoa.interfaces.settings import Settings
from stoa.testing.client_channel import InMemoryClientChannel

PARTS = ManifestParts(
    tools={each.member: each for each in (GraphQlToolManifest, KafkaManifest, McpToolManifest)},
    sources={
        **BUILT_IN_PARTS.sources,
        "graphQL": GraphQlSource,
        "grpc": GrpcSource,
        "kafka": KafkaSource,
        "mcp": McpSource,
    },
)
"""The members of `spec` that the back ends of the gateway define."""
OPTION = re.compile(r"--[a-z][a-z-]*")
NOT_RUN = {
    r"make ": "installs, starts servers or runs this suite; the target is looked up with `make -n`",
    r"tools/services/": "installs or starts a server; the script has to exist",
    r"KEYCLOAK_URL=": "needs a running Keycloak (tests/live/test_keycloak.py); its options are looked up",
    r"OPA_POLICY_PATH=\S+ stoa serve \.\.\.": "an ellipsis is no command",
    r"uvicorn --factory": "serves until it is stopped (tests/e2e/test_uvicorn.py)",
    r"\.venv/bin/python -m bench": "takes minutes, and needs nginx and wrk or Kafka",
    r"(docker|helm|kubectl) ": "needs Docker or a cluster (tests/live/deploy); values that it sets are looked up",
    r"(TOKEN=\$\()?curl -s http://localhost:80": "needs the compose stack (tests/live/deploy/test_compose.py)",
    r"(opa |\(cd policy && opa )": "needs the program opa; is run where it is installed",
}


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Generator[Place]:
    with a_place(tmp_path_factory.mktemp("place")) as place:
        yield place


@pytest.fixture
def place(_running: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    _running.enter(monkeypatch)
    return _running


def check_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = command.split()[1:]
    nested = {"policy": ("explain", "check"), "usage": ("reconcile",)}
    depth = 2 if len(words) > 1 and words[1] in nested.get(words[0], ()) else 1
    capsys.readouterr()
    assert run([*words[:depth], "--help"]) == 0
    unknown = set(OPTION.findall(command)) - set(OPTION.findall(capsys.readouterr().out))
    assert not unknown, f"`stoa {' '.join(words[:depth])}` has no {', '.join(sorted(unknown))}"


def check_only(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    if line.startswith("make "):
        target = shlex.split(line, comments=True)[1:2]
        done = subprocess.run(["make", "-n", *target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    if " -m bench" in line:
        sources = "".join(path.read_text() for path in (ROOT / "bench").glob("*.py"))
        words = shlex.split(line, comments=True)[3:]
        unknown = [word for word in words if word.startswith("--") and f'"{word}"' not in sources]
        assert not unknown, f"the benchmark has no {unknown}"
        assert not words or words[0].startswith("--") or f'"{words[0]}"' in sources, f"{words[0]} is no benchmark"
    for value in re.findall(r"--set ([\w.]+)=", line):
        chart = yaml.safe_load((ROOT / "deploy/charts/stoa-mcp-gateway/values.yaml").read_text())
        assert reduce(lambda values, name: values[name], value.split("."), chart) is not None
    for script in re.findall(r"tools/services/\S+\.sh", line):
        assert (ROOT / script).is_file(), f"there is no {script}"
    for command in re.findall(r"stoa serve[^#&]*", line):
        check_options(command.replace("...", ""), capsys)


def run_line(line: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    if made := re.match(r"export (\w+)=\$\(\.venv/bin/stoa (.*)\)", line):
        code, printed = place.stoa(made[2])
        assert code == 0, line
        monkeypatch.setenv(made[1], printed.strip())
    elif made := re.match(r"export (\w+)=(\S+)", line):
        monkeypatch.setenv(made[1], made[2])
    elif served := re.match(r"\.venv/bin/stoa (serve .*)", line):
        port = free_port()
        with started(place, [*shlex.split(served[1], comments=True), "--port", str(port)], port):
            ready = httpx.get(f"http://127.0.0.1:{port}/ready", timeout=10)
            assert ready.status_code == 200, ready.text
    elif command := re.match(r"(?:\.venv/bin/)?stoa (.*)", line):
        remote = "--kafka" in command[1]  # there is no broker: that it is asked is all that can be seen
        arguments = re.sub(r"localhost:9092", NO_BROKER, command[1]).replace("--tool NAME", "--tool listPets")
        code, printed = place.stoa(arguments)
        assert code == (69 if remote else 0), f"{line} ended with {code}\n{printed}"
        assert printed or remote
    else:
        place.bash(line)


def check_shell(
    block: Block, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert sound.returncode == 0, sound.stderr
    for line in re.sub(r"\\\n\s*", " ", block.text).splitlines():
        patterns = [pattern for pattern in NOT_RUN if re.match(pattern, line)]
        if patterns and not ("opa " in patterns[0] and shutil.which("opa")):
            check_only(line, capsys)
        else:
            run_line(line, place, monkeypatch)


def check_yaml(block: Block, folder: Path) -> None:
    file = folder / "manifest.yaml"
    file.write_text(block.text)
    document = read_document(file)
    match document.get("kind"):
        case "PriceList":
            parse_price_list(document, str(block))
        case "Budgets":
            assert parse_budgets(document, str(block))
        case None:  # a part of a tool's spec
            spec = {"endpoint": "https://orders.example.com/orders", **document}
            metadata = {"name": "orders", "namespace": "tenant-acme"}
            parse_manifest({"apiVersion": API_VERSION, "kind": "Tool", "metadata": metadata, "spec": spec})
        case _:
            parse_manifest(document, PARTS)


async def check_service(app: Any) -> None:
    """It starts, asks MCP callers who they are, and ends."""
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outbox: asyncio.Queue[Any] = asyncio.Queue()
    lifespan = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}}, inbox.get, outbox.put))
    for event in ("startup", "shutdown"):
        inbox.put_nowait({"type": f"lifespan.{event}"})
        assert (await asyncio.wait_for(outbox.get(), 20))["type"] == f"lifespan.{event}.complete"
        if event == "startup":
            assert (await send(app, "POST", "/mcp", headers={"host": "api.example.com"})).status == 401
    await asyncio.wait_for(lifespan, 20)


async def check_python(block: Block) -> None:
    """`await` at the top is an embedding program's; with a free `context` the block is the body of a tool."""
    code = compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    module = types.ModuleType("shown")
    shown = module.__dict__
    shown.update({name: getattr(application, name) for name in application.__all__})
    shown.update({name: value for name, value in vars(sampling).items() if name[0].isupper()})

    async def execute() -> None:
        result = eval(code, shown)  # the documentation's own text
        if inspect.iscoroutine(result):
            await result

    if "mcp_app(" in block.text:
        await execute()
        await check_service(shown["app"])
        return
    if "await context." not in block.text:
        await execute()
        assert shown["outcome"].status is Status.SUCCESS
        return
    gateway = Gateway()

    def told_noon(_: ToolUse) -> str:
        return "noon"

    @gateway.tool
    async def example(context: Context) -> str:
        shown.update(context=context, run=told_noon)
        await execute()
        return cast("str", shown["answer"].text)

    def model(_: str, request: ClientRequest) -> SamplingAnswer:
        assert isinstance(request, SamplingRequest)
        first = len(request.messages) == 1
        return SamplingAnswer((ToolUse("u1", "clock", {}) if first else TextContent("It is noon."),), "model")

    client = InMemoryClientChannel(ClientCapabilities(sampling=True, sampling_tools=True), model)
    outcome = await gateway.invoke("example", {}, Principal.of("ada", roles=["viewer"]), channel=client)
    assert outcome.status is Status.SUCCESS, outcome
    assert len(client.requested) == 2


def check_json(block: Block, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    value = json.loads(block.text)
    if "mcpServers" in value:
        for server in value["mcpServers"].values():
            asyncio.run(check_mcp_server(server, place))
    elif "config" in value:
        check_policy_data(block, place, monkeypatch)
    else:
        monkeypatch.setenv("CLIENT_REQUESTS", block.text)
        assert set(Settings().client_requests.to_domain().tenants) == set(value["tenants"])


async def check_mcp_server(server: dict[str, Any], place: Place) -> None:
    def here(text: str) -> str:
        return text.replace("/path/to/.venv/bin/stoa", STOA).replace("/path/to", str(place.home))

    environment = {name: here(value) for name, value in server["env"].items()}
    command = StdioServerParameters(
        command=here(server["command"]), args=[here(word) for word in server["args"]], env=environment, cwd=place.home
    )
    with (place.home / "stdio-log").open("w") as log:
        async with Client(stdio_client(command, errlog=log), read_timeout_seconds=30) as client:
            assert "listPets" in {tool.name for tool in (await client.list_tools()).tools}
    assert (place.home / "data").is_dir()


def check_policy_data(block: Block, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `data.json` of the bundle that ships; the case of the text is a viewer on a costly tool."""
    changed = place.home / "with-data.tar.gz"
    with tarfile.open(place.home / "bundle.tar.gz") as old, tarfile.open(changed, "w:gz") as new:
        for member in old.getmembers():
            content = old.extractfile(member)
            assert content is not None
            data = block.text.encode() if member.name.endswith("data.json") else content.read()
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    folder = place.home / "costly"
    folder.mkdir()
    (folder / "tool.yaml").write_text(
        f"apiVersion: {API_VERSION}\nkind: Tool\nmetadata: {{name: render}}\n"
        "spec: {endpoint: 'https://render.example.com/', tags: [costly], inputSchema: {type: object}}\n"
    )
    monkeypatch.setenv("OPA_POLICY_PATH", str(changed))
    _, told = place.stoa(f"policy explain --tool render --as viewer@acme --catalogue {folder} --json")
    assert re.search(r"\b6\b", told), told


LANGUAGES = {"sh", "", "yaml", "json", "python", "text"}
ALL = blocks()


@pytest.mark.parametrize("block", ALL, ids=str)
def test_every_block_has_a_rule(block: Block) -> None:
    assert block.language in LANGUAGES, f"no rule runs {block}; add one for `{block.language}` in {Path(__file__).name}"
    if block.language == "text":
        assert block.file == "docs/connect-a-client.md", f"{block}: only test_reference.py checks text, and only there"


@pytest.mark.parametrize("pattern", NOT_RUN)
def test_what_is_not_run_stands_somewhere(pattern: str) -> None:
    lines = [line for block in ALL if block.language in ("sh", "") for line in block.text.splitlines()]
    assert any(re.match(pattern, line) for line in lines), f"nothing begins with {pattern}; take it out of NOT_RUN"


def test_a_fence_that_is_written_otherwise_is_not_skipped() -> None:
    odd = ["  ```sh", "```sh title=x", "~~~sh", "> ```sh", "````sh"]
    for fence in odd:
        (block,) = blocks_of("x.md", f"text\n{fence}\nfalse\n{fence.rstrip('=abcdefghijklmnopqrstuvwxyz ')}\n")
        assert block.language not in LANGUAGES
        assert block.text == "false\n"


@pytest.mark.parametrize("block", [one for one in ALL if one.language in ("sh", "")], ids=str)
def test_commands_run(
    block: Block, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check_shell(block, place, monkeypatch, capsys)


@pytest.mark.parametrize("block", [one for one in ALL if one.language == "yaml"], ids=str)
def test_manifests_are_taken(block: Block, tmp_path: Path) -> None:
    check_yaml(block, tmp_path)


@pytest.mark.parametrize("block", [one for one in ALL if one.language == "json"], ids=str)
def test_json_is_taken(block: Block, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    check_json(block, place, monkeypatch)


@pytest.mark.parametrize("block", [one for one in ALL if one.language == "python"], ids=str)
async def test_programs_run(block: Block) -> None:
    await check_python(block)


COMMANDS = [
    command for row in table("docs/commands.md", "command") for command in re.findall(r"`(stoa [^`]+)`", row[0])
]
FILLED_IN = {
    "--tool T ": "--tool crm-search ",
    "TOOL": "crm-search",
    "ROLE@TENANT": "tenant-admin@team-alpha",
    "[k=v]": "q=weber limit=5",
    "k=v...": "q=weber limit=5",
    "--role R": "--role tenant-admin",
    "--tenant T": "--tenant team-alpha",
    "BUNDLE": "bundle.tar.gz",
    "SPEC": "openapi.yaml",
    "--report FILE": "--report report.json",
    "--audit FILE": "--audit gateway.log",
    "HOST:PORT": NO_BROKER,
    "--port N": "--port 0",
    "--catalogue PATH": "--catalogue catalogue",
    "preflight PATH": "preflight catalogue",
    "--output DIR": "--output crds",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_table_runs_with_all_its_options(
    command: str, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check_options(command, capsys)
    if command.startswith(("stoa serve", "stoa stdio")):
        return  # run until they are stopped; they are in blocks of the guide
    if command.startswith("stoa changes"):
        return  # asks a gateway where a version waits: tests/interfaces/cli/test_changes.py
    monkeypatch.setenv("CATALOGUE_PATH", str(place.demo_catalogue))
    monkeypatch.delenv("PORT")
    filled = command.replace("\\|", "|")
    for shown, meant in FILLED_IN.items():
        filled = filled.replace(shown, meant)
    filled = re.sub(r"(\w)\|[\w|]+", r"\1", filled).replace("...", "")
    filled = re.sub(r"[\[\]]", "", filled)
    code, printed = place.stoa(filled.removeprefix("stoa "))
    assert code == (69 if NO_BROKER in filled else 0), f"{filled}\n{printed}"


def endpoints() -> list[tuple[str, str]]:
    """Method and path of each endpoint that the page names; those after `/mcp/v1/` are relative to it."""
    found: list[tuple[str, str]] = []
    prefix = ""
    for shown in re.findall(r"`([^`]+)`", (ROOT / "docs" / "endpoints.md").read_text(encoding="utf-8")):
        if not (spoken := re.fullmatch(r"(?:(GET|POST|DELETE) )?(/?[a-z][a-z/.{}_?=,-]*|/[\w./?=,-]*)", shown)):
            continue
        method, path = spoken[1] or "GET", spoken[2]
        if path == "/mcp/v1/":
            prefix = path
        elif path.startswith("/"):
            found.append((method, path))
        elif prefix:
            found.append((method, prefix + path))
    return found


def test_the_endpoints_are_read_out_of_the_text() -> None:
    assert {("POST", "/mcp"), ("GET", "/metrics"), ("GET", "/mcp/v1/tools/{name}")} <= set(endpoints())


@pytest.mark.parametrize(("method", "path"), endpoints(), ids=lambda part: str(part))
def test_an_endpoint_is_there(method: str, path: str, place: Place) -> None:
    base = f"http://127.0.0.1:{place.port}"
    # What became of a global description is for platform admins.
    token = (
        place.stoa("token --role cpi-admin --tenant team-alpha")[1].strip() if "/apis/" in path else os.environ["TOKEN"]
    )
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=base, headers=headers, timeout=10) as client:
        lists = {kind: client.get(f"/mcp/v1/{kind}").json()[kind] for kind in ("prompts", "resources")}
        prompt, resource = lists["prompts"][0], lists["resources"][0]
        named = path.replace("prompts/{name}", f"prompts/{prompt['name']}").replace("apis/{name}", "apis/petstore")
        named = named.replace("{name}", "crm-search")
        named = named.replace("uri=", f"uri={resource['uri']}")
        body = {"arguments": {one["name"]: "x" for one in prompt.get("arguments", ())}} if "prompts" in path else {}
        if path.endswith("/invoke"):
            method, body = "POST", {"arguments": {"q": "weber"}}
        answer = client.request(method, named, json=body if method == "POST" else None)
    if path.split("?")[0] == "/mcp":  # without a message or a session: that the request is refused is an answer
        assert answer.status_code not in (404, 500), answer.text
    elif path.endswith("/approve?digest="):  # nothing waits here
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_input")
    else:
        assert answer.status_code == 200, f"{named}: {answer.text}"


def test_json_in_the_configuration_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    shown = [
        (name, value)
        for name, meaning in re.findall(r"^\| `([A-Z_]+)` \|.*\| (.*) \|$", page, re.MULTILINE)
        for value in re.findall(r"`(\{.*?\})`", meaning)
    ]
    assert len(shown) >= 2
    for name, value in shown:
        monkeypatch.setenv(name, value)
        assert getattr(Settings(), name.lower()) != Settings.model_fields[name.lower()].default


def test_security_promises_name_tests_that_exist() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    functions = set(re.findall(r"`(test_\w+)`", text))
    files = set(re.findall(r"`(tests/[\w/]+\.py)`", text))
    assert len(functions) + len(files) > 30
    assert [name for name in functions if not any(f"def {name}(" in source for source in sources.values())] == []
    assert [name for name in files if not (ROOT / name).is_file()] == []


def test_refusal_reasons_are_all_documented() -> None:
    text = (ROOT / "docs" / "refusal-reasons.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == sorted(RefusalReason)
