"""The conversion report of an API, over REST: to those who may know how its tools are made."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.interfaces.doors import send
from tests.interfaces.served import Served, serving


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    folder = tmp_path / "catalogue"
    folder.mkdir()
    return folder


PETS = {
    "openapi": "3.1.0",
    "info": {"title": "Pets", "version": "1"},
    "servers": [{"url": "http://127.0.0.1:9"}],
    "paths": {
        "/pets": {"get": {"operationId": "listPets", "responses": {"200": {"description": "ok"}}}},
        "/bad": {
            "get": {"parameters": [{"name": "Host", "in": "header", "required": True, "schema": {"type": "string"}}]}
        },
    },
}


def tool_set(name: str, tenant: str | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "gostoa.dev/v1alpha1",
        "kind": "ToolSet",
        "metadata": {"name": name} | ({"namespace": f"tenant-{tenant}"} if tenant else {}),
        "spec": {"openAPISpec": {"inline": json.dumps(PETS)}},
    }


@asynccontextmanager
async def serving_sets(folder: Path, *manifests: dict[str, Any]) -> AsyncIterator[Served]:
    for number, written in enumerate(manifests):
        (folder / f"{number}.yaml").write_text(json.dumps(written))
    async with serving(folder.parent / "var", catalogue_path=str(folder)) as here:
        yield here


async def asked(here: Served, api: str, *, role: str, tenant: str | None, query: str = "") -> Any:
    return await here.get(f"/mcp/v1/apis/{api}/report{query}", here.token(role, tenant))


async def test_report_of_an_api_is_shown_to_admins_of_its_owner_only(catalogue: Path) -> None:
    async with serving_sets(catalogue, tool_set("pets"), tool_set("toys", "alpha")) as here:
        told = await asked(here, "pets", role="cpi-admin", tenant=None)
        assert told.status == 200
        body = told.json()
        assert (body["api"], body["counts"]["operations"], body["counts"]["leftOut"]) == ("pets", 2, 1)
        assert body["operations"][1]["reason"].startswith("the required parameter 'Host' cannot be sent")
        assert (await asked(here, "toys", role="tenant-admin", tenant="alpha")).status == 200
        for api, role, tenant in (
            ("pets", "tenant-admin", "alpha"),
            ("toys", "viewer", "alpha"),
            ("toys", "tenant-admin", "beta"),
            ("none", "cpi-admin", None),
        ):
            assert (await asked(here, api, role=role, tenant=tenant)).status == 404
        assert (await here.get("/mcp/v1/apis/pets/report")).status == 401


async def test_report_of_an_api_has_a_page_and_a_text(catalogue: Path) -> None:
    async with serving_sets(catalogue, tool_set("pets")) as here:
        page = await asked(here, "pets", role="cpi-admin", tenant=None, query="?format=html")
        assert page.header("content-type") == "text/html; charset=utf-8"
        assert "default-src 'none'" in str(page.header("content-security-policy"))
        assert b"GET /bad" in page.body
        text = await asked(here, "pets", role="cpi-admin", tenant=None, query="?format=text")
        assert b"left out: GET /bad" in text.body
        assert (await asked(here, "pets", role="cpi-admin", tenant=None, query="?format=pdf")).status == 400


def with_description(folder: Path, paths: dict[str, Any]) -> dict[str, Any]:
    (folder.parent / "pets.json").write_text(json.dumps({**PETS, "paths": paths}))
    spec = {"openAPISpec": {"url": str(folder.parent / "pets.json")}, "changes": {"holdBack": ["removed"]}}
    return {**tool_set("pets"), "spec": spec}


async def test_changes_of_an_api_wait_for_an_admin_who_approves_them(catalogue: Path) -> None:
    list_pets = {"/pets": PETS["paths"]["/pets"]}
    async with serving_sets(catalogue, with_description(catalogue, list_pets)) as here:
        admin = here.token("cpi-admin", None)
        before = (await here.get("/mcp/v1/apis/pets/changes", admin)).json()
        assert (before["changes"], before["pending"]) == ([], None)
        with_description(catalogue, {"/dogs": {"get": {"operationId": "listDogs", "responses": {}}}})
        await here.gateway.loader.execute()
        told = (await here.get("/mcp/v1/apis/pets/changes", admin)).json()
        assert told["inUse"] == before["inUse"]
        assert {(each["kind"], each["tool"]) for each in told["pending"]["changes"]} == {
            ("added", "listDogs"),
            ("removed", "listPets"),
        }
        approve = f"/mcp/v1/apis/pets/approve?digest={told['pending']['digest']}"
        for role, tenant in (("tenant-admin", "alpha"), ("viewer", "alpha")):
            refused = await send(here.app, "POST", approve, headers=bearer(here.token(role, tenant)))
            assert refused.status == 404
        wrong = await send(here.app, "POST", "/mcp/v1/apis/pets/approve?digest=00", headers=bearer(admin))
        assert wrong.status == 400
        assert [tool.name for tool in here.gateway.catalogue.tools.values() if tool.api] == ["listPets"]
        approved = await send(here.app, "POST", approve, headers=bearer(admin))
        assert (approved.status, approved.json()["pending"]) == (200, None)
        assert [tool.name for tool in here.gateway.catalogue.tools.values() if tool.api] == ["listDogs"]


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}
