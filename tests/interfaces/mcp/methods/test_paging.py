"""Pages of lists: whatever their size and whatever changes meanwhile, nothing comes twice and every walk ends."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.interfaces.doors import STATELESS_REVISIONS, World

from stoa.application import Tool
from stoa.domain.operations.binding import StaticBinding, StaticMessage, StaticResource
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.prompt import Prompt
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import LocalBinding
from stoa.interfaces.mcp.methods import cursors

LISTS = {
    "tools/list": ("tools", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
    "prompts/list": ("prompts", "name"),
}
EVERY_LIST = pytest.mark.parametrize("method", LISTS)
VERSIONS = st.sampled_from(["2024-11-05", "2025-11-25", STATELESS_REVISIONS])


def _one(method: str, number: int, tenant: str | None = None) -> Operation:
    if method == "tools/list":
        return Tool(name=f"t{number:03}", tenant=tenant, binding=LocalBinding(function="f"))
    if method == "prompts/list":
        message = StaticMessage(role="user", text="x")
        return Prompt(name=f"p{number:03}", tenant=tenant, binding=StaticBinding(messages=(message,)))
    uri = f"x://{number:03}" if method == "resources/list" else f"x://{number:03}/{{v}}"
    return Resource(uri=uri, tenant=tenant, binding=StaticBinding(contents=(StaticResource(uri=uri, text="x"),)))


def _world(page_size: int) -> World:
    world = World(page_size=page_size)
    world.gateway._local.add("f", lambda: 1)  # the function that all the tools call
    return world


def _fill(world: World, method: str, numbers: Any, hidden: Any = ()) -> None:
    theirs = [_one(method, number, "beta") for number in hidden if number not in numbers]
    world.gateway.registry.replace([*(_one(method, number) for number in numbers), *theirs])


async def _page(world: World, method: str, version: str, cursor: str | None) -> dict[str, Any]:
    params = {} if cursor is None else {"cursor": cursor}
    if version == STATELESS_REVISIONS:
        answer = await world.modern(method, params)
    else:
        answer = await world.legacy(method, params, version=version)
    body: dict[str, Any] = answer.json()
    return body


def _names(method: str, page: dict[str, Any]) -> list[str]:
    member, name = LISTS[method]
    return [one[name] for one in page["result"][member]]


@EVERY_LIST
@settings(max_examples=25, deadline=None)
@given(page_size=st.integers(1, 6), count=st.integers(0, 13), hidden=st.sets(st.integers(0, 30)), version=VERSIONS)
async def test_all_pages_together_are_the_list_and_none_is_empty_or_too_long(
    method: str, page_size: int, count: int, hidden: set[int], version: str
) -> None:
    world = _world(page_size)
    _fill(world, method, range(count), hidden)
    seen: list[str] = []
    cursor, pages = None, 0
    while True:
        page = await _page(world, method, version, cursor)
        names = _names(method, page)
        assert len(names) <= page_size
        seen += names
        pages += 1
        cursor = page["result"].get("nextCursor")
        if cursor is None:
            break
        assert len(names) == page_size, "a page that is followed by another is full"
    assert seen == [_one(method, number).identifier for number in range(count)]
    assert pages == max(1, -(-count // page_size))


@EVERY_LIST
@settings(max_examples=25, deadline=None)
@given(page_size=st.integers(1, 4), catalogues=st.lists(st.sets(st.integers(0, 9)), min_size=1, max_size=8))
async def test_a_walk_through_a_changing_list_ends_and_misses_nothing_that_stayed(
    method: str, page_size: int, catalogues: list[set[int]]
) -> None:
    world = _world(page_size)
    seen: list[str] = []
    cursor, step = None, 0
    while step == 0 or cursor is not None:
        _fill(world, method, sorted(catalogues[min(step, len(catalogues) - 1)]))
        page = await _page(world, method, STATELESS_REVISIONS, cursor)
        seen += _names(method, page)
        cursor = page["result"].get("nextCursor")
        step += 1
        assert step <= 10 + 1, "there are ten names at most, and each page goes on behind the last"
    assert seen == sorted(set(seen))
    stayed = set.intersection(*catalogues[: max(step, 1)])
    assert {_one(method, number).identifier for number in stayed} <= set(seen)


@EVERY_LIST
@settings(max_examples=40, deadline=None)
@given(st.data())
async def test_a_cursor_that_was_tampered_with_is_refused_or_goes_on_somewhere_behind_it(
    method: str, data: st.DataObject
) -> None:
    world = _world(2)
    _fill(world, method, range(7))
    cursor = (await _page(world, method, STATELESS_REVISIONS, None))["result"]["nextCursor"]
    place = data.draw(st.integers(0, len(cursor) - 1))
    changed = cursor[:place] + data.draw(st.text(max_size=3).filter(str.isprintable)) + cursor[place + 1 :]
    page = await _page(world, method, STATELESS_REVISIONS, changed)
    if "error" in page:
        assert page["error"]["code"] == -32602
        return
    after = cursors.decode(changed, LISTS[method][0])
    assert all(name > after for name in _names(method, page))
    following = page["result"].get("nextCursor")
    assert following is None or cursors.decode(following, LISTS[method][0]) > after


@EVERY_LIST
@pytest.mark.parametrize("version", ["2025-03-26", "2025-11-25", STATELESS_REVISIONS])
async def test_a_cursor_of_another_list_or_of_no_list_is_invalid_params(method: str, version: str) -> None:
    world = _world(1)
    foreign = [cursors.encode("a", member) for member, _ in LISTS.values() if member != LISTS[method][0]]
    for cursor in (*foreign, "", "x", 5, {}, [], True):
        params = {"cursor": cursor}
        if version == STATELESS_REVISIONS:
            answer = await world.modern(method, params)
        else:
            answer = await world.legacy(method, params, version=version)
        assert (answer.status, answer.json()["error"]["code"]) == (
            400 if version == STATELESS_REVISIONS else 200,
            -32602,
        )


async def test_a_cursor_shows_its_next_bearer_only_what_that_one_may_list() -> None:
    world = _world(1)
    world.gateway.registry.replace([_one("tools/list", 0, "alpha"), *(_one("tools/list", n, "beta") for n in (1, 2))])
    first = await world.modern("tools/list", token="beta-viewer")
    cursor = first.json()["result"]["nextCursor"]
    other = await world.modern("tools/list", {"cursor": cursor}, token="alpha-viewer")
    assert other.json()["result"]["tools"] == []
