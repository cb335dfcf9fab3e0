"""The composition root: what is wired, started and stopped."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from dishka import Provider, provide
from dishka import Scope as Lifetime
from quart import Blueprint
from tests.interfaces.doors import Answer, envelope, modern, send
from tests.interfaces.served import Served, manifest, serving
from tests.live.servers import free_port

from stoa.application.memory.rate_limiter import Unlimited
from stoa.application.ports.invocation_observer import InvocationObserver
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.domain.errors import NotAuthenticated
from stoa.domain.operations.tool import ToolAnnotations
from stoa.infrastructure.observability.prometheus import PrometheusObserver
from stoa.infrastructure.oidc import DevIssuer
from stoa.infrastructure.outbox import OutboxUsageLog
from stoa.interfaces.bootstrap import DEV_ISSUER
from stoa.interfaces.bootstrap.parts import FurtherBlueprints
from stoa.interfaces.settings import Settings
from stoa.testing.invocation_observer import InMemoryInvocationObserver


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    folder = tmp_path / "catalogue"
    folder.mkdir()
    (folder / "tools.yaml").write_text(manifest("ask", "http://127.0.0.1:9/x", "alpha"), encoding="utf-8")
    return folder


async def test_the_gateway_is_not_ready_before_its_catalogue_is_loaded(tmp_path: Path, catalogue: Path) -> None:
    async with serving(tmp_path, started=False, catalogue_path=(str(catalogue),)) as served:
        assert (await served.get("/live")).status == 200
        assert (await served.get("/ready")).status == 503
    async with serving(tmp_path, catalogue_path=(str(catalogue),)) as served:
        answer = await served.get("/ready")
        assert answer.status == 200
        assert {"lifecycle", "background", "catalogue", "policy", "metering", "event_loop"} == set(
            answer.json()["parts"]
        )
        assert (await served.ready())["catalogue"]["detail"].startswith("1 tool")


async def test_a_bad_manifest_is_shown_to_operators_and_takes_no_other_with_it(tmp_path: Path, catalogue: Path) -> None:
    (catalogue / "bad.yaml").write_text("kind: Tool\n", encoding="utf-8")
    async with serving(tmp_path, catalogue_path=(str(catalogue),)) as served:
        answer = await served.get("/ready")
        assert answer.status == 200
        assert any("bad.yaml" in finding for finding in (await served.ready())["catalogue"]["findings"])
        listed = (await served.get("/mcp/v1/tools", served.token())).json()
        assert [tool["name"] for tool in listed["tools"]] == ["ask"]


async def test_calls_are_metered_on_disk_and_counted(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:

        @served.gateway.tool
        async def hello() -> str:
            return "hello"

        assert (await served.call("hello", token=served.token())).status == 200
        metrics = (await served.get("/metrics")).body.decode()
        assert 'stoa_invocations_total{door="rest",status="success"} 1.0' in metrics
        assert "alpha" not in metrics
        assert "hello" not in metrics
    kept = list(OutboxUsageLog(tmp_path / "data" / "outbox").events())
    assert [(event.tool, event.tenant, event.status.value) for event in kept] == [("hello", "alpha", "success")]
    audit = (tmp_path / "data" / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event_id"] for line in audit] == [kept[0].event_id]


async def test_metering_limits_and_identity_can_be_switched_off(tmp_path: Path) -> None:
    options = {"metering_enabled": False, "rate_limit_enabled": False, "identity_provider": "none"}
    async with serving(tmp_path, **options) as served:

        @served.gateway.tool
        async def hello() -> str:
            return "hello"

        answers = [await served.call("hello") for _ in range(30)]
        assert {answer.status for answer in answers} == {200}
        assert served.events == []
        assert (await served.get("/.well-known/oauth-protected-resource/mcp")).status == 404
        assert (await served.get("/dev-issuer/jwks")).status == 404
        (probe,) = served.metering.probes
        assert probe.health().detail == "off (METERING_ENABLED=false)"
    assert not (tmp_path / "data" / "outbox").exists()


async def test_an_anonymous_viewer_has_the_limits_of_a_viewer(tmp_path: Path) -> None:
    async with serving(tmp_path, identity_provider="none") as served:

        @served.gateway.tool
        async def hello() -> str:
            return "hello"

        statuses = [(await served.call("hello")).status for _ in range(11)]
        assert statuses == [200] * 10 + [429]


async def test_a_development_token_opens_the_gateway_and_no_authorization_server_is_announced(tmp_path: Path) -> None:
    async with serving(tmp_path, public_url="https://gw.example", allowed_hosts=("localhost",)) as served:
        for path in ("/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"):
            metadata = (await served.get(path)).json()
            assert metadata["resource"] == "https://gw.example/mcp"
            assert "authorization_servers" not in metadata
        challenge = (await served.get("/mcp/v1/tools")).header("www-authenticate")
        assert challenge == 'Bearer scope="stoa:read"'
        told = await send(served.app, "POST", "/register", body=b"{}")  # what clients without metadata try
        assert (told.status, told.json()["error"]) == (403, "access_denied")
        assert "stoa token" in told.json()["error_description"]
        keys = (await served.get("/dev-issuer/jwks")).json()["keys"]
        assert len(keys) == 1
        assert not {"d", "p", "q"} & set(keys[0]), "public parts only"
        assert (await served.get("/mcp/v1/tools", served.token())).status == 200
        assert (await served.get("/mcp/v1/tools")).status == 401


async def test_a_token_outlives_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path, port=1111) as served:
        token = served.token()
    async with serving(tmp_path, port=2222) as served:
        assert (await served.get("/mcp/v1/tools", token)).status == 200
    async with serving(tmp_path / "elsewhere") as served:
        assert (await served.get("/mcp/v1/tools", token)).status == 401


async def test_callers_limits_come_from_the_settings(tmp_path: Path) -> None:
    limits = {"viewer": {"requestsPerMinute": 6, "burst": 1}}
    async with serving(tmp_path, stoa_caller_limits=limits) as served:
        token = served.token("viewer")
        assert [(await served.call("nothing", token=token)).status for _ in range(2)] == [404, 429]
        served.clock.advance(10)
        assert (await served.call("nothing", token=token)).status == 404


async def _initialize(served: Served) -> Answer:
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    headers = {"authorization": f"Bearer {served.token()}", "content-type": "application/json"}
    return await send(served.app, "POST", "/mcp", headers=headers, body=json.dumps(message).encode())


async def test_sessions_in_redis_are_shared_and_its_health_is_reported(tmp_path: Path, in_process_redis: str) -> None:
    options = {"sessions": "redis", "redis_url": in_process_redis}
    async with serving(tmp_path, **options) as one, serving(tmp_path, **options) as two:
        assert (await one.ready())["redis"]["ready"]
        session = (await _initialize(one)).header("mcp-session-id")
        headers = {"authorization": f"Bearer {one.token()}", "mcp-session-id": session or ""}
        assert (await send(two.app, "DELETE", "/mcp", headers=headers)).status == 200
        assert (await send(one.app, "DELETE", "/mcp", headers=headers)).status == 404


async def test_without_its_redis_a_gateway_starts_but_is_not_ready_and_refuses_sessions(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"redis://user:pass-word@127.0.0.1:{free_port()}/0"
    async with serving(tmp_path, sessions="redis", redis_url=url) as served:
        answer = await served.get("/ready")
        assert answer.status == 503
        assert "REDIS_URL: the server cannot be reached" in (await served.ready())["redis"]["detail"]
        assert (await _initialize(served)).status == 503
        assert (await served.get("/mcp/v1/tools", served.token())).status == 200
    assert "pass-word" not in answer.body.decode() + caplog.text
    assert "REDIS_URL" in caplog.text


async def test_with_redis_tasks_and_announced_updates_are_shared_whatever_is_said_of_sessions(
    tmp_path: Path, in_process_redis: str
) -> None:
    options = {"sessions": "none", "redis_url": in_process_redis}
    extensions: Any = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
    meta = {**envelope(), "io.modelcontextprotocol/clientCapabilities": extensions}
    async with serving(tmp_path, **options) as one, serving(tmp_path, **options) as two:

        async def ask(served: Served, method: str, params: Any, **rest: Any) -> Answer:
            message, headers = modern(method, {**params, "_meta": meta})
            sent = {name: value for name, value in headers.items() if value is not None}
            sent |= {"authorization": f"Bearer {one.token()}", "content-type": "application/json"}
            sent["accept"] = "application/json, text/event-stream"
            return await send(served.app, "POST", "/mcp", headers=sent, body=json.dumps(message).encode(), **rest)

        for served in (one, two):
            served.gateway.tool(lambda: 1, name="dig", tasks="required")
            served.gateway.resource("memo://one")(lambda: "text")
        task = (await ask(one, "tools/call", {"name": "dig"})).json()["result"]
        assert (await ask(two, "tasks/get", {"taskId": task["taskId"]})).json()["result"]["taskId"] == task["taskId"]
        assert not (tmp_path / "data" / "tasks.db").exists()

        told, gone = Answer(), asyncio.Event()
        wanted = {"notifications": {"resourceSubscriptions": ["memo://one"]}}
        listening = asyncio.create_task(ask(two, "subscriptions/listen", wanted, into=told, gone=gone))
        async with asyncio.timeout(10):
            while b"acknowledged" not in told.body:
                await asyncio.sleep(0.001)
            one.gateway.resource_updated("memo://one")
            while b"notifications/resources/updated" not in told.body:
                await asyncio.sleep(0.001)
        gone.set()
        await listening


async def test_with_redis_all_replicas_count_limits_together(tmp_path: Path, in_process_redis: str) -> None:
    options = {"sessions": "none", "redis_url": in_process_redis}
    async with serving(tmp_path, **options) as one, serving(tmp_path, **options) as two:
        token = one.token(role="")  # five at once
        answers = [await served.call("nothing", token=token) for served in (one, two) * 4]
        assert [answer.status for answer in answers] == [404] * 5 + [429] * 3
        part = (await one.ready())["limits"]
        assert part == {"ready": True, "detail": "counted by all replicas together", "findings": []}
        metrics = (await one.get("/metrics")).body.decode()
        assert "stoa_limits_shared 1.0" in metrics
        assert "stoa_limits_outages_total 0.0" in metrics


async def test_while_redis_is_away_each_replica_admits_its_share_and_says_so(tmp_path: Path) -> None:
    url = f"redis://user:pass-word@127.0.0.1:{free_port()}/0"
    limits = {"stoa_tenant_limits": {"beta": {"requestsPerMinute": 60, "burst": 50, "fail": "closed"}}}
    async with serving(tmp_path, redis_url=url, replicas=2, **limits) as served:
        token = served.token(role="viewer")  # ten at once
        answers = [await served.call("nothing", token=token) for _ in range(8)]
        assert [answer.status for answer in answers] == [404] * 5 + [429] * 3
        assert answers[0].header("ratelimit-limit") == "5"
        refused = await served.call("nothing", token=served.token(role="viewer", tenant="beta"))
        assert (refused.status, refused.json()["error"]) == (503, "limiter_unavailable")
        part = (await served.ready())["limits"]
        assert part["ready"]
        assert "1/2 of each limit" in part["findings"][0]
        assert "pass-word" not in part["findings"][0]
        metrics = (await served.get("/metrics")).body.decode()
        expected = {"shared": "0.0", "outages_total": "1.0", "counted_alone_total": "5.0", "refused_total": "1.0"}
        for name, value in expected.items():
            assert f"stoa_limits_{name} {value}" in metrics


async def test_several_processes_without_redis_have_a_share_each(tmp_path: Path) -> None:
    async with serving(tmp_path, replicas=2) as served:
        token = served.token(role="viewer")
        answers = [await served.call("nothing", token=token) for _ in range(6)]
        assert [answer.status for answer in answers] == [404] * 5 + [429]
        assert "limits" not in (await served.ready())


class _NoLimits(Provider):
    scope = Lifetime.APP

    @provide(override=True)
    def limiter(self) -> RateLimiter:
        return Unlimited()


async def test_a_part_can_be_replaced(tmp_path: Path) -> None:
    limits = {"viewer": {"requestsPerMinute": 6, "burst": 1}}
    async with serving(tmp_path, _NoLimits(), stoa_caller_limits=limits) as served:
        token = served.token("viewer")
        assert [(await served.get("/mcp/v1/tools", token)).status for _ in range(3)] == [200] * 3


class _More(Provider):
    scope = Lifetime.APP

    def __init__(self, observer: InMemoryInvocationObserver) -> None:
        super().__init__()
        self._observer = observer

    @provide(override=True)
    def observers(self, prometheus: PrometheusObserver) -> list[InvocationObserver]:
        return [prometheus, self._observer]

    @provide(override=True)
    def further_blueprints(self) -> FurtherBlueprints:
        return FurtherBlueprints((_about,))


def _about() -> Blueprint:
    about = Blueprint("about", __name__)

    @about.get("/about")
    async def page() -> str:
        return "about us"

    return about


async def test_bootstrap_takes_further_observers_and_blueprints(tmp_path: Path) -> None:
    observer = InMemoryInvocationObserver()
    async with serving(tmp_path, _More(observer)) as served:
        assert (await served.get("/about")).body == b"about us"
        await served.call("nothing", token=served.token("viewer"))
        assert [outcome.error.code for _, outcome in observer.seen] == ["tool_not_found"]


async def test_hosts_and_origins_come_from_the_settings(tmp_path: Path) -> None:
    options = {"allowed_hosts": ("gw.example",), "cors_origins": ("https://app.example",)}
    async with serving(tmp_path, **options) as served:

        async def status(**headers: str) -> int:
            return (await send(served.app, "GET", "/mcp/v1/", headers=headers)).status

        assert await status(host="gw.example") == 401
        assert await status(host="x.gostoa.dev") == 401
        assert await status(host="other.example") == 421
        assert await status(origin="https://app.example") == 401
        assert await status(origin="https://other.example") == 403


async def test_a_token_for_an_audience_that_is_no_longer_accepted_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, allowed_audiences=("one",)) as served:
        token = served.token()
    async with serving(tmp_path, allowed_audiences=("two",)) as served:
        with pytest.raises(NotAuthenticated):
            await served.identity.verifier.verify(token)


async def test_a_task_that_runs_when_the_server_stops_is_found_failed_by_the_next(tmp_path: Path) -> None:
    declared = {"io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}}

    async def ask(served: Served, method: str, **params: Any) -> Any:
        params["_meta"] = {**envelope(), **declared}
        message, headers = modern(method, params)
        headers |= {"content-type": "application/json", "authorization": f"Bearer {served.token()}"}
        sent = {name: value for name, value in headers.items() if value is not None}
        return (await send(served.app, "POST", "/mcp", headers=sent, body=json.dumps(message).encode())).json()

    reached = asyncio.Event()
    async with serving(tmp_path) as served:

        @served.gateway.tool(tasks="required")
        async def endless() -> None:
            reached.set()
            await asyncio.get_running_loop().create_future()

        begun = await ask(served, "tools/call", name="endless", arguments={})
        await reached.wait()
    async with serving(tmp_path) as served:
        found = (await ask(served, "tasks/get", taskId=begun["result"]["taskId"]))["result"]
        assert (found["status"], found["error"]["data"]["code"]) == ("failed", "task_interrupted")
    kept = list(OutboxUsageLog(tmp_path / "data" / "outbox").events())
    assert [(event.tool, event.status.value) for event in kept] == [("endless", "cancelled")]


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
async def test_data_dir_holds_nothing_that_other_users_can_read(tmp_path: Path, catalogue: Path) -> None:
    options = {"catalogue_path": (str(catalogue),), "kafka_bootstrap_servers": f"127.0.0.1:{free_port()}"}
    before = os.umask(0o022)
    try:
        async with serving(tmp_path, **options) as served:
            await served.call("ask", {"q": 1}, served.token())
            while not (tmp_path / "data" / "outbox" / "relay.lock").exists():
                await asyncio.sleep(0.01)
    finally:
        os.umask(before)
    modes = {path.relative_to(tmp_path).as_posix(): path.stat().st_mode for path in (tmp_path / "data").rglob("*")}
    assert {"data/audit.jsonl", "data/deployment.secret", "data/outbox/relay.lock"} <= set(modes)
    assert [name for name, mode in modes.items() if mode & 0o077] == []


@pytest.mark.parametrize("required", [True, False])
async def test_scopes_are_demanded_where_the_operator_says_so(tmp_path: Path, required: bool) -> None:
    async with serving(tmp_path, require_scopes=required) as served:

        @served.gateway.tool(annotations=ToolAnnotations(read_only_hint=True))
        async def look() -> str:
            return "seen"

        @served.gateway.tool(annotations=ToolAnnotations(read_only_hint=False))
        async def change() -> str:
            return "changed"

        def token(*scopes: str) -> str:
            directory, audience = served.settings.data_dir, "stoa-mcp-gateway"
            issuer = DevIssuer(directory, DEV_ISSUER, audience, served.clock, "dev", scopes)
            return issuer.issue(subject="ann", tenant="alpha", roles=frozenset({"devops"}), lifetime_seconds=60)

        async def status(tool: str, token: str) -> tuple[int, bool]:
            answer = await served.call(tool, token=token)
            return answer.status, "insufficient_scope" in (answer.header("www-authenticate") or "")

        allowed, may_ask = (200, False), (403, True)
        for name in ("look", "change"):
            assert await status(name, served.token("devops")) == allowed
            assert await status(name, token("openid")) == (may_ask if required else allowed)
        assert await status("look", token("stoa:read")) == allowed
        assert await status("change", token("stoa:read")) == may_ask
        assert await status("change", token("stoa:read", "stoa:write")) == allowed
        assert await status("change", served.token("viewer")) == (403, False)
