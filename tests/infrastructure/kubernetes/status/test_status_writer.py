"""What the objects of a cluster say about their manifests."""

import asyncio

import pytest
from tests.infrastructure.kubernetes.gateways import PETS, gateway_on, replica_of, tool, tool_set
from tests.infrastructure.kubernetes.timing import ManualTime
from tests.kubernetes import ApiServer, Object, serving

from stoa.infrastructure.kubernetes.status.rate import WriteRate


@pytest.fixture
def server() -> ApiServer:
    server = ApiServer()
    server.put("namespaces", {"metadata": {"name": "acme"}})
    return server


def status(server: ApiServer, name: str, plural: str = "tools") -> Object:
    found: Object = server.get(plural, name, namespace="acme").get("status", {})
    return found


def condition(shown: Object, kind: str) -> tuple[str, str]:
    return next((one["status"], one["reason"]) for one in shown["conditions"] if one["type"] == kind)


def writes(server: ApiServer) -> int:
    return sum(path.endswith("/status") for _, path in server.requests)


def events(server: ApiServer) -> list[tuple[str, str]]:
    found = [server.get("events", name, namespace="acme") for name in server.names("events")]
    return [(event["type"], event["reason"]) for event in found]


async def test_status_tells_that_a_tool_is_registered_and_what_is_wrong_with_another(tmp_path, server):
    server.put("tools", tool("ant"))
    server.put("tools", tool("bee", method="FETCH"))
    async with gateway_on(tmp_path, server) as here:
        await here.until(lambda: bool(status(server, "ant") and status(server, "bee")))
        good, bad = status(server, "ant"), status(server, "bee")
        assert (good["phase"], good["observedGeneration"]) == ("Registered", 1)
        assert condition(good, "Programmed") == ("True", "Programmed")
        assert "lastError" not in good
        assert bad["phase"] == "Error"
        assert condition(bad, "Accepted") == ("False", "Invalid")
        assert "spec.method" in bad["lastError"]
        await here.until(lambda: len(events(server)) == 2)
        assert sorted(events(server)) == [("Normal", "Programmed"), ("Warning", "Invalid")]


async def test_status_of_a_tool_set_names_its_tools_and_its_description(tmp_path, server):
    server.put("toolsets", tool_set("pets", openAPISpec={"inline": PETS}))
    async with gateway_on(tmp_path, server) as here:
        await here.until(lambda: bool(status(server, "pets", "toolsets")))
        shown = status(server, "pets", "toolsets")
        assert (shown["phase"], shown["toolCount"], shown["tools"]) == ("Ready", 1, ["listPets"])
        assert len(shown["specHash"]) == 64


async def test_status_follows_a_manifest_that_is_broken_and_mended(tmp_path, server):
    server.put("tools", tool("ant"))
    async with gateway_on(tmp_path, server) as here:
        await here.until(lambda: status(server, "ant").get("phase") == "Registered")
        first = next(one for one in status(server, "ant")["conditions"] if one["type"] == "Accepted")
        server.put("tools", tool("ant", method="FETCH"))
        await here.until(lambda: status(server, "ant").get("phase") == "Error")
        assert status(server, "ant")["observedGeneration"] == 2
        server.put("tools", tool("ant", method="POST"))
        await here.until(lambda: status(server, "ant").get("phase") == "Registered")
        again = next(one for one in status(server, "ant")["conditions"] if one["type"] == "Accepted")
        assert again["observedGeneration"] == 3
        assert again["lastTransitionTime"] >= first["lastTransitionTime"]
        await here.until(lambda: len(events(server)) == 3)


async def test_status_is_not_written_where_nothing_changed(tmp_path, server):
    for name in ("ant", "bee", "cat"):
        server.put("tools", tool(name))
    async with gateway_on(tmp_path, server) as here:
        await here.until(lambda: all(status(server, name) for name in ("ant", "bee", "cat")))
        assert writes(server) == 3
        for _ in range(3):
            await here.gateway.loader.execute()
            await asyncio.sleep(0.02)
        server.put("tools", tool("dog"))
        await here.until(lambda: bool(status(server, "dog")))
        assert writes(server) == 4


async def test_status_is_not_written_again_by_the_next_leader(tmp_path, server):
    server.put("tools", tool("ant"))
    async with serving(server) as url:
        async with replica_of(tmp_path, url) as here:
            await here.until(lambda: bool(status(server, "ant")))
        written = writes(server)
        async with replica_of(tmp_path, url, identity="second") as here:
            await here.until(lambda: here.writer.election.leads_for(0))
            server.put("tools", tool("bee"))
            await here.until(lambda: bool(status(server, "bee")))
            assert writes(server) == written + 1


async def test_status_is_written_by_the_leader_alone(tmp_path, server):
    async with (
        serving(server) as url,
        replica_of(tmp_path, url) as first,
        replica_of(tmp_path, url, identity="second") as second,
    ):
        await first.until(lambda: first.writer.election.leads_for(0) or second.writer.election.leads_for(0))
        server.put("tools", tool("ant"))
        await first.until(lambda: bool(status(server, "ant")))
        await first.until(lambda: first.names("acme") == second.names("acme") == ["ant"])
        await asyncio.sleep(0.05)
        assert writes(server) == 1


async def test_status_counts_the_calls_of_its_tools_in_batches(tmp_path, server):
    server.put("tools", tool("ant"))
    server.put("tools", tool("fail"))
    async with gateway_on(tmp_path, server) as here:
        await here.until(lambda: bool(status(server, "ant") and status(server, "fail")))
        for _ in range(20):
            await here.call("ant")
        await here.call("fail")
        await here.until(lambda: status(server, "ant")["invocationCount"] == 20)
        await here.until(lambda: status(server, "fail")["invocationCount"] == 1)
        assert (status(server, "ant")["errorCount"], status(server, "fail")["errorCount"]) == (0, 1)


async def test_status_that_another_changed_meanwhile_is_written_after_the_conflict(tmp_path, server):
    server.put("tools", tool("ant"))
    async with gateway_on(tmp_path, server) as here:
        await here.until(lambda: bool(status(server, "ant")))
        for number in range(20):
            server.put("tools", tool("ant", description=f"number {number}"))
            await asyncio.sleep(0)
        await here.until(lambda: status(server, "ant")["observedGeneration"] == 21)
        assert status(server, "ant")["phase"] == "Registered"


_BEARER = {"authentication": {"type": "bearer", "secretRef": {"name": "key"}}}


async def test_status_of_a_tool_whose_secret_is_missing_says_so_until_it_is_there(tmp_path, server):
    server.put("tools", tool("ant", **_BEARER))
    async with gateway_on(tmp_path, server, reads_secrets=True) as here:
        await here.until(lambda: bool(status(server, "ant")))
        shown = status(server, "ant")
        assert (shown["phase"], condition(shown, "Accepted")) == ("Error", ("True", "Accepted"))
        assert condition(shown, "ResolvedRefs") == ("False", "InvalidReference")
        assert "spec.authentication.secretRef: The secret key (entry token) of tenant acme" in shown["lastError"]
        assert here.names("acme") == ["ant"]
        server.put("secrets", {"metadata": {"name": "key", "namespace": "acme"}, "data": {"token": "czNjcmV0"}})
        await here.until(lambda: status(server, "ant")["phase"] == "Registered")
        server.delete("secrets", "key", namespace="acme")
        await here.until(lambda: status(server, "ant")["phase"] == "Error")


async def test_status_of_a_tool_whose_secret_may_not_be_read_gives_the_servers_reason_and_holds_up_no_other(
    tmp_path, server
):
    server.refusals["secrets"] = 403, "Forbidden"
    server.put("tools", tool("ant", **_BEARER))
    server.put("tools", tool("bee"))
    async with gateway_on(tmp_path, server, reads_secrets=True) as here:
        await here.until(lambda: bool(status(server, "ant") and status(server, "bee")))
        assert status(server, "bee")["phase"] == "Registered"
        assert "403: secrets: Forbidden" in status(server, "ant")["lastError"]


async def test_status_of_all_manifests_is_written_before_the_first_event(tmp_path, server):
    for number in range(5):
        server.put("tools", tool(f"t{number}"))
    async with gateway_on(tmp_path, server) as here:
        await here.until(lambda: len(events(server)) == 5)
        written = [path for method, path in server.requests if method in {"PATCH", "POST"} and "leases" not in path]
        assert [path.endswith("/status") for path in written] == [True] * 5 + [False] * 5


async def test_status_that_may_not_be_written_is_a_finding_and_asked_for_seldom(tmp_path, server):
    for number in range(20):
        server.put("tools", tool(f"t{number}"))
    server.refused_status = 403
    async with gateway_on(tmp_path, server) as here:
        await here.until(lambda: bool(here.writer.health().findings))
        assert here.writer.health().is_ready
        assert writes(server) < 5
        assert len(here.names("acme")) == 20


async def test_status_writes_are_no_faster_than_their_rate():
    time = ManualTime()
    sleeper = time.sleeper()
    rate = WriteRate(time.clock, per_second=10, burst=5, sleep=sleeper)
    for _ in range(5):
        await rate.admit()
    waiting = asyncio.create_task(rate.admit())
    await asyncio.sleep(0)
    assert not waiting.done()
    time.clock.advance(0.1)
    sleeper.wake()
    await waiting
