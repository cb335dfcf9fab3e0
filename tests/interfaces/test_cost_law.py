"""The cost law: doubling the input at most doubles the work, counted in calls, so that no machine's mood matters.

To hold another piece of work to it, add a function to WORK: of a size, it prepares and returns what is counted.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from tests.infrastructure.openapi.documents import api, convert, operation
from tests.interfaces.doors import PRINCIPALS

from stoa.application.backends.local_backend import LocalBackend
from stoa.application.backends.static_backend import StaticBackend
from stoa.application.catalogue.catalogue_loader import CatalogueLoader
from stoa.application.catalogue.list_operations import ListQuery
from stoa.application.catalogue.operation_registry import OperationRegistry
from stoa.application.gateway import Gateway
from stoa.application.manifests.spec_kinds import SpecKinds
from stoa.application.manifests.understand import understood, understood_each
from stoa.application.memory.rate_limiter import Unlimited
from stoa.application.memory.spec_source import InMemorySpecSource
from stoa.application.memory.tool_source import InMemoryToolSource
from stoa.application.ports import BoundedExecutor
from stoa.domain.access.identity import TenantId
from stoa.domain.operations.binding import StaticBinding, StaticResource
from stoa.domain.operations.catalogue import Catalogue
from stoa.domain.operations.naming import unique
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import LocalBinding, Tool
from stoa.domain.schema.portable_schema import portable
from stoa.infrastructure.documents import DocumentProblem, read_value
from stoa.testing.clock import ManualClock

SIZE = 60
SLACK = 2.3
"""Sorting, and what is paid once, beside the factor of two."""

Work = Callable[[], Any]


class InPlace(BoundedExecutor):
    """Runs where its steps are counted."""

    async def run(self, function: Any, *args: Any, **kwargs: Any) -> list[Any]:
        return list(function(*args, **kwargs))

    async def close(self) -> None:
        pass


def _tools(size: int, **fields: Any) -> list[Tool]:
    return [Tool(name=f"t{n}", binding=LocalBinding(function="f"), **fields) for n in range(size)]


def equal_names(size: int) -> Work:
    return lambda: unique(["act"] * size)


def long_names_that_begin_alike(size: int) -> Work:
    names = [f"{'x' * 42}{n:06}" for n in range(size)]
    return lambda: unique([*names, *names])


def names_that_are_numbered_already(size: int) -> Work:
    names = ["act", *(f"act_{n}" for n in range(2, size))]
    return lambda: unique([*names, *["act"] * size])


def _document(paths: dict[str, Any], **rest: Any) -> Work:
    text = json.dumps({**api(paths), **rest})
    return lambda: convert(text)


def equal_operation_ids(size: int) -> Work:
    return _document({f"/p{n}": {"get": operation(operationId="same")} for n in range(size)})


def operations_with_tags_and_parameters(size: int) -> Work:
    parameter = {"name": "q", "in": "query", "schema": {"type": "string"}}
    paths = {
        f"/p{n}": {"get": operation(operationId=f"a{n}", tags=[f"t{n}"], parameters=[parameter])} for n in range(size)
    }
    return _document(paths)


def _body(schema: Any) -> Any:
    return operation(requestBody={"required": True, "content": {"application/json": {"schema": schema}}})


def members_whose_names_become_equal(size: int) -> Work:
    members = {f"a{'!' * n}": {"type": "string"} for n in range(1, size)}
    return _document({"/p": {"post": _body({"type": "object", "properties": members})}})


def components_whose_names_become_equal(size: int) -> Work:
    names = [f"s{'!' * n}" for n in range(1, size)]
    components = {
        name: {"type": "object", "properties": {"a": {"$ref": f"#/components/schemas/{name}"}}} for name in names
    }
    members = {f"m{n}": {"$ref": f"#/components/schemas/{name}"} for n, name in enumerate(names)}
    return _document(
        {"/p": {"post": _body({"type": "object", "properties": members})}}, components={"schemas": components}
    )


def components_in_a_chain(size: int) -> Work:
    chain = {
        f"c{n}": {"type": "object", "properties": {"n": {"$ref": f"#/components/schemas/c{n + 1}"}}}
        for n in range(size)
    }
    chain[f"c{size}"] = {"type": "string"}
    body = _body({"$ref": "#/components/schemas/c0"})
    return _document({"/p": {"post": body}}, components={"schemas": chain})


def components_in_a_circle(size: int) -> Work:
    circle = {
        f"c{n}": {"allOf": [{"$ref": f"#/components/schemas/c{(n + 1) % size}"}], "description": "x"}
        for n in range(size)
    }
    body = _body({"type": "object", "properties": {"a": {"$ref": "#/components/schemas/c0"}}})
    return _document({"/p": {"post": body}}, components={"schemas": circle})


def alternatives_that_require_much(size: int) -> Work:
    names = [f"n{n}" for n in range(20)]
    branch = {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": names}
    return lambda: portable({"type": "object", "oneOf": [branch] * size})


def alternatives_that_describe_a_member_differently(size: int) -> Work:
    branches = [{"properties": {"a": {"type": "string", "description": str(n)}}} for n in range(size // 2)]
    return lambda: portable({"type": "object", "anyOf": branches})


def yaml_with_merge_keys(size: int) -> Work:
    lines = ["base: &base {a: 1, b: 2}", *(f"m{n}: {{<<: *base, c: {n}}}" for n in range(size))]
    return lambda: read_value("\n".join(lines))


def yaml_merge_keys_of_merge_keys(size: int) -> Work:
    """Of which a reader without bounds makes a million values for each level."""
    levels = ["l0: &l0 {a: 1}"]
    levels += [f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 10)}]}}" for n in range(1, 4 + size // 60)]

    def refused_or_read() -> None:
        with suppress(DocumentProblem):
            read_value("\n".join(levels))

    return refused_or_read


def a_catalogue_and_its_views(size: int) -> Work:
    own = [Tool(name="own", tenant=f"t{n}", binding=LocalBinding(function="f")) for n in range(size)]

    def work() -> None:
        catalogue, _ = Catalogue.build(own)
        for tenant in range(size):
            catalogue.view(TenantId(f"t{tenant}"))

    return work


def a_catalogue_that_shrinks(size: int) -> Work:
    old, new = Catalogue.build(_tools(size))[0], Catalogue({})
    return lambda: old.apply(old.diff(new))


def registration(size: int) -> Work:
    registry, tools = OperationRegistry([LocalBackend(None)]), _tools(size)  # type: ignore[arg-type]
    registry._backends["local"].add("f", lambda: 1)  # type: ignore[attr-defined]
    return lambda: registry.replace(tools)


def registration_one_by_one(size: int) -> Work:
    def work() -> None:
        gateway = Gateway()
        for number in range(size):
            gateway.tool(lambda: 1, name=f"t{number}")

    return work


def _gateway(size: int) -> Gateway:
    gateway = Gateway(limiter=Unlimited())
    gateway.tool(lambda: 1, name="first")
    gateway.add(*[one.model_copy(update={"binding": LocalBinding(function="global/first")}) for one in _tools(size)])
    return gateway


def _run(work: Callable[[], Any]) -> Any:
    return asyncio.run(work())


def listing_page_by_page(size: int) -> Work:
    gateway = _gateway(size)

    async def pages() -> None:
        after: str | None = ""
        while after is not None:
            query = ListQuery(after=after, limit=5, is_counted=False)
            after = (await gateway.list_tools.execute(PRINCIPALS["admin"], query, "mcp")).next_after

    return lambda: _run(pages)


def listing_all_and_counting(size: int) -> Work:
    gateway = _gateway(size)
    return lambda: _run(lambda: gateway.tools(PRINCIPALS["admin"], ListQuery(limit=10_000)))


def reading_of_templates(size: int) -> Work:
    contents = StaticBinding(contents=(StaticResource(uri="a://x", mime_type="text/plain", text="x"),))
    resources = [Resource(uri=f"a://{n}", binding=contents) for n in range(size)]
    catalogue, _ = Catalogue.build(resources)

    def work() -> None:
        for number in range(size):
            catalogue.resolve(None, f"b://{number}")

    return work


def _manifest(name: str, **spec: Any) -> Any:
    return {
        "apiVersion": "gostoa.dev/v1alpha1",
        "kind": "Resource",
        "metadata": {"name": name},
        "spec": {"uri": f"memo://{name}", "text": "x", **spec},
    }


def _refresh(source: InMemoryToolSource) -> CatalogueLoader:
    return CatalogueLoader(
        sources=[source],
        specs=SpecKinds([], InMemorySpecSource()),
        registry=OperationRegistry([StaticBackend()]),
        executor=InPlace(),
        clock=ManualClock(),
    )


def loading_of_good_and_bad_manifests(size: int) -> Work:
    source = InMemoryToolSource()
    for number in range(size):
        source.put(f"good{number}.yaml#1", _manifest(f"m{number}"))
        source.put(f"bad{number}.yaml#1", _manifest(f"m{number}", uri=7))
    return lambda: _run(_refresh(source).execute)


def reloading_after_many_turned_bad(size: int) -> Work:
    source = InMemoryToolSource()
    refresh = _refresh(source)
    for number in range(size):
        source.put(f"f{number}.yaml#1", _manifest(f"m{number}"))
    _run(refresh.execute)
    for number in range(size):
        source.put(f"f{number}.yaml#1", None, problem="unreadable")
    return lambda: _run(refresh.execute)


WORK = [
    equal_names,
    long_names_that_begin_alike,
    names_that_are_numbered_already,
    equal_operation_ids,
    operations_with_tags_and_parameters,
    members_whose_names_become_equal,
    components_whose_names_become_equal,
    components_in_a_chain,
    components_in_a_circle,
    alternatives_that_require_much,
    alternatives_that_describe_a_member_differently,
    yaml_with_merge_keys,
    yaml_merge_keys_of_merge_keys,
    a_catalogue_and_its_views,
    a_catalogue_that_shrinks,
    registration,
    registration_one_by_one,
    listing_page_by_page,
    listing_all_and_counting,
    reading_of_templates,
    loading_of_good_and_bad_manifests,
    reloading_after_many_turned_bad,
]


def steps(work: Work) -> int:
    """Calls of functions, written in Python or not."""
    count = 0

    def seen(_: Any, event: str, __: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("prepare", WORK, ids=lambda prepare: prepare.__name__)
def test_cost_doubles_at_most_when_the_input_doubles(prepare: Callable[[int], Work]) -> None:
    prepare(SIZE)()  # what is paid once for the process
    small, middle, large = (steps(prepare(SIZE * factor)) for factor in (4, 8, 16))
    print(f"\n{prepare.__name__}: {small}, {middle}, {large} steps")
    assert middle <= SLACK * small
    assert large <= SLACK * middle


async def test_cost_of_a_reload_is_that_of_what_changed() -> None:
    source, understandings = InMemoryToolSource(), list[Any]()

    class Counting(InPlace):
        async def run(self, function: Any, *args: Any, **kwargs: Any) -> list[Any]:
            understandings.append(function)
            return await super().run(function, *args, **kwargs)

    refresh = _refresh(source)
    refresh._executor = Counting()
    for number in range(50):
        source.put(f"f{number}.yaml#1", _manifest(f"m{number}"))
        source.put(f"bad{number}.yaml#1", _manifest(f"bad{number}", uri=7))
    await refresh.execute()
    together, alone = understandings.count(understood_each), understandings.count(understood)
    assert (together, alone) == (2, 50), "64 at a time, then those with mistakes by themselves"
    understandings.clear()
    source.put("f7.yaml#1", _manifest("m7", text="new"))
    await refresh.execute()
    assert understandings == [understood]
