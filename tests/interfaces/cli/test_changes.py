"""`stoa changes` against a gateway: what waits is shown, and approved by its digest."""

import json
from pathlib import Path

import httpx
import pytest
from tests.interfaces.served import serving

from stoa.domain.errors import InvalidInput, Unavailable
from stoa.interfaces.cli.changes import changes_of

PATHS = {"/pets": {"get": {"operationId": "listPets", "responses": {"200": {"description": "ok"}}}}}


def described(folder: Path, operation_id: str) -> None:
    paths = {"/pets": {"get": {**PATHS["/pets"]["get"], "operationId": operation_id}}}
    document = {"openapi": "3.1.0", "info": {"title": "Pets", "version": "1"}, "paths": paths}
    (folder / "pets.json").write_text(json.dumps(document))


async def test_changes_that_wait_are_shown_and_approved(tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue"
    catalogue.mkdir()
    described(tmp_path, "listPets")
    spec = {
        "openAPISpec": {"url": str(tmp_path / "pets.json")},
        "baseURL": "http://127.0.0.1:9",
        "changes": {"holdBack": ["breaking"]},
    }
    whole = {"apiVersion": "gostoa.dev/v1alpha1", "kind": "ToolSet", "metadata": {"name": "pets"}, "spec": spec}
    (catalogue / "pets.yaml").write_text(json.dumps(whole))
    async with serving(tmp_path / "var", catalogue_path=str(catalogue)) as here:
        described(tmp_path, "findPets")
        await here.gateway.loader.execute()
        headers = {"authorization": f"Bearer {here.token('cpi-admin', None)}"}
        transport = httpx.ASGITransport(here.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", headers=headers) as client:
            told = await changes_of(client, "pets", None, None)
            assert [change["why"] for change in told["pending"]["changes"]] == ["it was called listPets"]
            with pytest.raises(InvalidInput, match="no version with this digest is held back"):
                await changes_of(client, "pets", None, "0" * 64)
            approved = await changes_of(client, "pets", None, told["pending"]["digest"])
            assert approved["pending"] is None
            with pytest.raises(InvalidInput, match="none: Unknown resource"):
                await changes_of(client, "none", None, None)
        assert here.gateway.catalogue.find(None, "findPets") is not None


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (401, "", InvalidInput, "set STOA_TOKEN"),
        (404, "not here", InvalidInput, "knows no such API"),
        (200, "<html>", Unavailable, "a gateway's URL"),
        (503, "{}", Unavailable, "answered 503"),
    ],
)
async def test_changes_asked_of_something_else_say_what_to_check(
    status: int, body: str, error: type[Exception], words: str
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, text=body))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9") as client:
        with pytest.raises(error, match=words):
            await changes_of(client, "pets", None, None)


async def test_changes_asked_of_nothing_say_what_to_check() -> None:
    async with httpx.AsyncClient(base_url="http://127.0.0.1:9") as client:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await changes_of(client, "pets", None, None)
