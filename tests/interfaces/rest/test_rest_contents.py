"""The REST door to resources and prompts."""

from urllib.parse import quote

import pytest
from tests.interfaces.doors import World


async def test_resources_templates_and_prompts_are_listed(world: World) -> None:
    resources = (await world.rest("GET", "/resources")).json()
    assert [one["uri"] for one in resources["resources"]] == [
        "memo://alpha",
        "memo://bytes",
        "memo://down",
        "memo://plain",
    ]
    assert (resources["nextCursor"], resources["totalCount"]) == (None, 4)
    templates = (await world.rest("GET", "/resources/templates")).json()["resourceTemplates"]
    assert [one["uriTemplate"] for one in templates] == ["memo://items/{item}/{count}", "stoa://tools/{name}"]
    prompts = (await world.rest("GET", "/prompts?search=greets")).json()["prompts"]
    assert [one["name"] for one in prompts] == ["greet"]
    page = (await world.rest("GET", "/resources?limit=1")).json()
    assert page["nextCursor"] == "memo://alpha"
    rest = (await world.rest("GET", f"/resources?cursor={quote(page['nextCursor'])}")).json()
    assert len(rest["resources"]) == 3


async def test_a_resource_is_read(world: World) -> None:
    answer = await world.rest("GET", f"/resources/read?uri={quote('memo://items/a%20b/3', safe='')}")
    body = answer.json()
    contents = {"uri": "memo://items/a%20b/3", "mimeType": "application/json", "text": '{"item": "a b", "count": 3}'}
    assert (answer.status, body["contents"], body["uri"]) == (200, [contents], "memo://items/a%20b/3")
    assert {"requestId", "invokedAt", "latencyMs", "costUnits"} <= set(body)


async def test_a_prompt_is_filled(world: World) -> None:
    body = (await world.rest("POST", "/prompts/greet", {"arguments": {"name": "Ann"}})).json()
    text = {"type": "text", "text": "Greet Ann 1 times"}
    assert body["messages"] == [{"role": "user", "content": text}]
    assert (body["description"], body["promptName"]) == ("Greets somebody.", "greet")


@pytest.mark.parametrize(
    ("method", "path", "token", "status", "error"),
    [
        ("GET", "/resources/read?uri=memo://beta", "alpha-admin", 404, "resource_not_found"),
        ("GET", "/resources/read", "alpha-admin", 404, "resource_not_found"),
        ("GET", "/resources/read?uri=memo://secret", "alpha-admin", 403, "not_permitted"),
        ("GET", "/resources/read?uri=memo://plain", None, 401, "not_authenticated"),
        ("GET", "/resources/read?uri=memo://down", "alpha-admin", 503, "content_unavailable"),
        ("POST", "/prompts/none", "alpha-admin", 404, "prompt_not_found"),
        ("POST", "/prompts/greet", "alpha-admin", 400, "invalid_arguments"),
        ("GET", "/prompts?limit=0", "alpha-admin", 400, "invalid_input"),
        ("GET", "/resources", None, 401, "not_authenticated"),
    ],
)
async def test_refusals_have_their_status(
    world: World, method: str, path: str, token: str | None, status: int, error: str
) -> None:
    answer = await world.rest(method, path, token=token)
    assert (answer.status, answer.json()["error"]) == (status, error)
