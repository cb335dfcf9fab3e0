"""Overrides of single operations in a ToolSet, through a gateway to a back end on loopback."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.infrastructure.openapi.documents import api, operation
from tests.infrastructure.rest.loopback import Loopback, answer, loopback

from stoa.application.gateway import Gateway
from stoa.application.manifests.tools import ToolSetManifest
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.memory.policy_engine import RulesPolicyEngine
from stoa.application.ports.manifest_parts import DocumentSourceManifest
from stoa.domain.access.identity import Principal
from stoa.domain.errors import InvalidArguments, InvalidInput
from stoa.domain.operations.tool import Tool
from stoa.domain.policy.decision import Decision, PolicyQuery
from stoa.infrastructure.openapi.spec_kind import OpenApiSpecKind
from stoa.infrastructure.rest.backend import RestBackend

ANN = Principal.of("ann", tenant="acme", roles=["tenant-admin"])
ADMIN = Principal.of("root", roles=["cpi-admin"])


class Remembering(RulesPolicyEngine):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, Any]] = []

    async def decide(self, query: PolicyQuery) -> Decision:
        self.seen.append(dict(query.arguments))
        return await super().decide(query)


def parameter(name: str, kind: str = "string", **rest: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": kind}, **rest}


DOCUMENT = api(
    {
        "/pets": {
            "get": operation(
                operationId="listPets",
                description="Lists pets.",
                parameters=[
                    parameter("org", required=True),
                    parameter("q", description="The query"),
                    parameter("page_size", "integer", required=True),
                    parameter("key"),
                ],
            ),
            "post": operation(operationId="addPet", parameters=[parameter("org", required=True)]),
        }
    }
)


class Bench:
    def __init__(self, back_end: Loopback) -> None:
        self.back_end = back_end
        self.policy = Remembering()
        credentials = InMemoryCredentialSource()
        credentials.put(None, "pets", {"value": "s3cret"})
        self.gateway = Gateway(
            spec_kinds=[OpenApiSpecKind()],
            backends=[RestBackend(credentials)],
            policy=self.policy,
            credentials=credentials,
        )

    async def load(self, *overrides: dict[str, Any]) -> list[str]:
        findings = await self.gateway.add_manifest(manifest(self.back_end.url, *overrides))
        return [str(finding) for finding in findings]

    def tool(self, name: str) -> Tool:
        found = self.gateway.catalogue.find(None, name)
        assert isinstance(found, Tool)
        return found

    async def sent(self, name: str, caller: Principal = ANN, **arguments: Any) -> str:
        outcome = await self.gateway.invoke(name, arguments, caller)
        if outcome.error is not None:
            raise outcome.error
        return self.back_end.seen[-1].target


def manifest(base_url: str, *overrides: dict[str, Any]) -> dict[str, Any]:
    spec = {"openAPISpec": {"inline": json.dumps(DOCUMENT)}, "baseURL": base_url, "overrides": list(overrides)}
    return {"apiVersion": "gostoa.dev/v1alpha1", "kind": "ToolSet", "metadata": {"name": "pets"}, "spec": spec}


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    async with loopback(lambda _: answer()) as back_end:
        at = Bench(back_end)
        yield at
        await at.gateway.close()


async def test_overrides_change_name_words_hints_and_limits_of_one_tool_only():
    async with bench() as at:
        await at.load(
            {
                "operation": "GET /pets",
                "name": "find_pets",
                "displayName": "Find pets",
                "description": "Finds pets of the shop.",
                "annotations": {"openWorldHint": False},
                "tags": ["shop"],
                "timeout": "5s",
                "rateLimit": {"requestsPerMinute": 7},
            },
            {"operation": "addPet", "enabled": False},
        )
        tool = at.tool("find_pets")
        assert (tool.title, tool.description, tool.tags) == ("Find pets", "Finds pets of the shop.", ("shop",))
        assert (tool.hints.open_world_hint, tool.hints.read_only_hint) == (False, True)
        assert tool.timeout_seconds == 5
        assert tool.rate_limit is not None
        assert tool.rate_limit.requests_per_minute == 7
        assert [each.name for each in at.gateway.catalogue.tools.values() if each.api] == ["find_pets"]


async def test_overrides_fix_arguments_that_callers_neither_see_nor_set_and_the_policy_sees():
    async with bench() as at:
        arguments = {
            "org": {"fromPrincipal": "tenant"},
            "page_size": {"value": 50},
            "key": {"secretRef": {"name": "pets"}},
        }
        assert await at.load({"operation": "listPets", "arguments": arguments}) == []
        assert list(at.tool("listPets").input_schema["properties"]) == ["q"]
        assert "required" not in at.tool("listPets").input_schema
        assert await at.sent("listPets", q="x") == "/pets?org=acme&q=x&page_size=50&key=s3cret"
        assert at.policy.seen[-1] == {"q": "x", "org": "acme", "page_size": 50, "key": "secret:pets"}
        for forged in ({"org": "other"}, {"page_size": 1}, {"key": "mine"}):
            try:
                target = await at.sent("listPets", **forged)
            except InvalidArguments:
                continue
            assert target == "/pets?org=acme&page_size=50&key=s3cret"


async def test_overrides_that_need_a_fact_refuse_a_caller_without_it():
    async with bench() as at:
        await at.load({"operation": "addPet", "arguments": {"org": {"fromPrincipal": "tenant"}}})
        with pytest.raises(InvalidArguments, match="a caller with a tenant"):
            await at.sent("addPet", ADMIN)
        assert at.back_end.seen == []


async def test_overrides_rename_default_and_hide_arguments():
    async with bench() as at:
        arguments = {
            "q": {"name": "search", "description": "Words to look for."},
            "page_size": {"name": "limit", "default": 20},
            "key": {"hidden": True},
        }
        await at.load({"operation": "listPets", "arguments": arguments})
        assert at.tool("listPets").input_schema["properties"] == {
            "org": {"type": "string"},
            "search": {"type": "string", "description": "Words to look for."},
            "limit": {"type": "integer", "default": 20},
        }
        assert at.tool("listPets").input_schema["required"] == ["org"]
        assert await at.sent("listPets", org="o", search="x") == "/pets?org=o&q=x&page_size=20"
        assert await at.sent("listPets", org="o", limit="3") == "/pets?org=o&page_size=3"
        assert at.policy.seen[-2:] == [{"org": "o", "search": "x", "limit": 20}, {"org": "o", "limit": 3}]


async def test_overrides_are_explained_to_admins_with_the_names_of_secrets():
    async with bench() as at:
        arguments = {"key": {"secretRef": {"name": "pets"}}, "org": {"fromPrincipal": "subject"}}
        await at.load({"operation": "listPets", "arguments": arguments})
        told = await at.gateway.explain_call.execute(ADMIN, None, "listPets", {"page_size": 1}, "library")
        assert told.fixed == {"key": "secret:pets", "org": "root"}
        assert "s3cret" not in str(told)
        assert "{secret:pets}" in str(told.request).replace("%7B", "{").replace("%7D", "}").replace("%3A", ":")
        hidden = await at.gateway.explain_call.execute(ANN, None, "listPets", {"page_size": 1}, "library")
        assert (hidden.fixed, hidden.request) == ({}, None)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"none": {"hidden": True}}, "arguments.none: there is no such argument; there are org, q, page_size, key"),
        ({"org": {"hidden": True}}, "arguments.org: the operation needs it"),
        ({"page_size": {"value": "many"}}, "arguments.page_size.value: "),
        ({"page_size": {"default": "many"}}, "arguments.page_size.default: "),
        ({"q": {"name": "org"}}, "arguments: two of them would have the same name"),
    ],
)
async def test_overrides_that_cannot_hold_leave_their_tool_out(arguments, problem):
    async with bench() as at:
        (finding,) = await at.load({"operation": "listPets", "arguments": arguments})
        assert finding.startswith("error: ")
        assert problem in finding
        assert at.gateway.catalogue.find(None, "listPets") is None
        assert at.gateway.catalogue.find(None, "addPet") is not None


async def test_overrides_of_no_operation_are_told():
    async with bench() as at:
        (finding,) = await at.load({"operation": "listDogs"})
        assert "no tool is of the operation 'listDogs'" in finding


@pytest.mark.parametrize(
    "argument",
    [
        {"value": 1, "hidden": True},
        {"value": None, "fromPrincipal": "tenant"},
        {"value": 1, "name": "n"},
        {"hidden": True, "default": 1},
        {"fromPrincipal": "claims"},
    ],
)
def test_overrides_with_two_sources_are_refused(argument):
    override = {"operation": "a", "arguments": {"x": argument}}
    with pytest.raises(InvalidInput, match=r"spec\.overrides"):
        ToolSetManifest.read(manifest("http://a.example", override), {"openAPISpec": DocumentSourceManifest})
