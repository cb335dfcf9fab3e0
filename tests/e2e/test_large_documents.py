"""Three of the largest public API descriptions as one catalogue: what is listed, and what goes out over the wire."""

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from tests.e2e.manifests import tool, tool_set, write
from tests.e2e.processes import GatewayProcess, Seen, Upstream, serving, until
from tests.e2e.wire import wire_client

SPECS = Path(__file__).parents[3] / "shared" / "specs" / "openapi"
DOCUMENTS = {
    "github": ("github/api.github.com.json", 1223),
    "kubernetes": ("kubernetes/swagger-1.13.json", 1014),
    "stripe": ("stripe/spec3.yaml", 460),
}
READY_WITHIN_SECONDS = 60

pytestmark = [
    pytest.mark.skipif(not SPECS.is_dir(), reason="the collection of API descriptions (shared/specs) is not there"),
]


@dataclass
class Served:
    gateway: GatewayProcess
    upstream: Upstream


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = {"RATE_LIMIT_ENABLED": "false"}
    gateway = GatewayProcess(tmp_path_factory.mktemp("large"), settings, imports_itself=True)
    with Upstream().listening() as upstream:
        for name, (file, _) in DOCUMENTS.items():
            write(gateway, f"{name}.yaml", tool_set(name, str(SPECS / file), f"{upstream.url}/{name}"))
        with serving(gateway, within=READY_WITHIN_SECONDS):
            print(f"\nready after {gateway.ready_after:.1f} s, {gateway.memory_mib():.0f} MiB")
            yield Served(gateway, upstream)


@asynccontextmanager
async def connected(gateway: GatewayProcess, mode: str) -> AsyncGenerator[Client]:
    headers = {"Authorization": f"Bearer {gateway.token('cpi-admin')}"}
    async with httpx2.AsyncClient(headers=headers, trust_env=False, timeout=30) as http:
        transport = streamable_http_client(f"{gateway.url}/mcp", http_client=http)
        async with Client(transport, mode=mode, read_timeout_seconds=30) as client:
            yield client


async def _names(client: Client) -> set[str]:
    page = await client.list_tools()
    names = [tool.name for tool in page.tools]
    while page.next_cursor is not None:
        page = await client.list_tools(cursor=page.next_cursor)
        names += (tool.name for tool in page.tools)
    assert len(set(names)) == len(names)
    return set(names)


def test_the_gateway_lists_them_quickly_and_starts_in_time_and_in_bounded_memory(served: Served) -> None:
    with wire_client(served.gateway.url, served.gateway.token("cpi-admin")) as client:
        client.tools()
        began = time.monotonic()
        listed = client.tools()
        seconds = time.monotonic() - began
    print(f"\n{len(listed)} tools listed in {seconds:.2f} s, {served.gateway.memory_mib():.0f} MiB")
    assert seconds < 5
    assert served.gateway.ready_after < READY_WITHIN_SECONDS
    assert served.gateway.memory_mib() < 1024


def test_calls_go_on_while_the_catalogue_is_read_anew(served: Served) -> None:
    longest = 0.0
    with wire_client(served.gateway.url, served.gateway.token("cpi-admin")) as client:
        added = write(served.gateway, "added.yaml", tool("added", f"{served.upstream.url}/added"))
        deadline = time.monotonic() + 20
        while client.send("tools/call", {"name": "added", "arguments": {}}).status_code != 200:
            began = time.monotonic()
            assert client.call("repos_get", owner="o", repo="r")["structuredContent"] == {"ok": True}
            longest = max(longest, time.monotonic() - began)
            assert began < deadline
        added.unlink()
        until(lambda: client.send("tools/call", {"name": "added", "arguments": {}}).status_code != 200, within=60)
    print(f"\nlongest call while the catalogue was read anew: {longest:.2f} s")
    assert longest < 8


def test_nothing_is_left_out_and_no_name_is_taken_twice(served: Served) -> None:
    findings: list[str] = served.gateway.ready()["catalogue"]["findings"]
    assert not [finding for finding in findings if finding.startswith("error")]
    assert not any("registered already" in finding for finding in findings)


@dataclass
class Case:
    """One call, and the request that the document demands for it."""

    tool: str
    arguments: dict[str, Any]
    request: str
    """Method, path and query."""
    json: Any = None
    form: dict[str, str] | None = None
    text: str | None = None
    content_type: str | None = None


CASES = [
    Case("repos_get", {"owner": "octo cat", "repo": "a/b"}, "GET /github/repos/octo%20cat/a%2Fb"),
    Case(
        "search_code",
        {"q": "addClass in:file", "sort": "indexed", "per_page": 5},
        "GET /github/search/code?q=addClass%20in%3Afile&sort=indexed&per_page=5",
    ),
    Case(
        "issues_create",
        {"owner": "o", "repo": "r", "title": "It broke", "labels": ["bug", {"name": "new"}], "assignees": ["ada"]},
        "POST /github/repos/o/r/issues",
        json={"title": "It broke", "labels": ["bug", {"name": "new"}], "assignees": ["ada"]},
    ),
    Case(
        "repos_create-or-update-file-contents",
        {"owner": "o", "repo": "r", "path": "docs/read me.md", "message": "m", "content": "aGk="},
        "PUT /github/repos/o/r/contents/docs%2Fread%20me.md",
        json={"message": "m", "content": "aGk="},
    ),
    Case(
        "issues_update",
        {"owner": "o", "repo": "r", "issue_number": 7, "state": "closed", "body": None},
        "PATCH /github/repos/o/r/issues/7",
        json={"state": "closed", "body": None},
    ),
    Case(
        "markdown_render-raw",
        {"body": "# Grüße"},
        "POST /github/markdown/raw",
        text="# Grüße",
        content_type="text/plain",
    ),
    Case("gists_delete", {"gist_id": "abc"}, "DELETE /github/gists/abc"),
    Case(
        "listCoreV1NamespacedPod",
        {"namespace": "kube-system", "labelSelector": "app=web,tier!=db", "limit": 5, "watch": False},
        "GET /kubernetes/api/v1/namespaces/kube-system/pods?labelSelector=app%3Dweb%2Ctier%21%3Ddb&limit=5&watch=false",
    ),
    Case(
        "createCoreV1NamespacedPod",
        {
            "namespace": "default",
            "dryRun": "All",
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web"},
            "spec": {"containers": [{"name": "web", "image": "nginx"}]},
        },
        "POST /kubernetes/api/v1/namespaces/default/pods?dryRun=All",
        json={
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web"},
            "spec": {"containers": [{"name": "web", "image": "nginx"}]},
        },
        content_type="application/json",
    ),
    Case(
        "deleteCoreV1NamespacedPod",
        {"name": "web", "namespace": "default", "gracePeriodSeconds": 0, "body_gracePeriodSeconds": 5},
        "DELETE /kubernetes/api/v1/namespaces/default/pods/web?gracePeriodSeconds=0",
        json={"gracePeriodSeconds": 5},
    ),
    Case(
        "patchCoreV1NamespacedPod",
        {"name": "web", "namespace": "default", "body": {"metadata": {"labels": {"a": None}}}},
        "PATCH /kubernetes/api/v1/namespaces/default/pods/web",
        json={"metadata": {"labels": {"a": None}}},
        content_type="application/merge-patch+json",
    ),
    Case(
        "connectCoreV1GetNamespacedPodProxyWithPath",
        {"name": "web", "namespace": "default", "path": "a/b", "path_query": "c"},
        "GET /kubernetes/api/v1/namespaces/default/pods/web/proxy/a%2Fb?path=c",
    ),
    Case(
        "PostPaymentIntents",
        {
            "amount": 1000,
            "currency": "eur",
            "automatic_payment_methods": {"enabled": True},
            "metadata": {"order": "67 & 35"},
            "payment_method_types": ["card", "sepa_debit"],
        },
        "POST /stripe/v1/payment_intents",
        form={
            "amount": "1000",
            "currency": "eur",
            "automatic_payment_methods[enabled]": "true",
            "metadata[order]": "67 & 35",
            "payment_method_types[0]": "card",
            "payment_method_types[1]": "sepa_debit",
        },
    ),
    Case(
        "GetCustomersSearch", {"query": "email:'a@b.c'"}, "GET /stripe/v1/customers/search?query=email%3A%27a%40b.c%27"
    ),
    Case("GetCustomersCustomer", {"customer": "cus_1"}, "GET /stripe/v1/customers/cus_1"),
    Case("DeleteCustomersCustomer", {"customer": "cus_1"}, "DELETE /stripe/v1/customers/cus_1"),
    Case(
        "GetCharges",
        {"created": {"gt": 1700000000}, "limit": 3},
        "GET /stripe/v1/charges?created%5Bgt%5D=1700000000&limit=3",
    ),
]


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_every_operation_is_listed_and_called_as_its_document_says(served: Served, mode: str) -> None:
    wrong: list[str] = []
    async with connected(served.gateway, mode) as client:
        names = await _names(client)  # now the client holds every answer against the tool's output schema
        assert len(names) == sum(operations for _, operations in DOCUMENTS.values())
        assert {"repos_get", "listCoreV1NamespacedPod", "PostPaymentIntents"} <= names
        for case in CASES:
            served.upstream.seen.clear()
            result = await client.call_tool(case.tool, case.arguments)
            if result.is_error:
                wrong.append(f"{case.tool}: {result.content}")
                continue
            (seen,) = served.upstream.seen
            wrong += [f"{case.tool}: {difference}" for difference in _differences(case, seen)]
    assert wrong == []


def _differences(case: Case, seen: Seen) -> Iterator[str]:
    request = f"{seen.method} {seen.target}"
    if request != case.request:
        yield f"sent {request}, not {case.request}"
    sent_type = seen.headers.get("content-type", "").partition(";")[0]
    if case.content_type is not None and sent_type != case.content_type:
        yield f"sent {sent_type}, not {case.content_type}"
    if case.json is not None:
        if seen.json != case.json:
            yield f"sent {seen.body!r}"
    elif case.form is not None:
        form = dict(parse_qsl(seen.body.decode(), keep_blank_values=True))
        if form != case.form or sent_type != "application/x-www-form-urlencoded":
            yield f"sent {form} as {sent_type}"
    elif seen.body.decode() != (case.text or ""):
        yield f"sent {seen.body!r}"
    if "authorization" in seen.headers:
        yield "the caller's token went out"
