"""The laws of SpecSource, for every adapter."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoa.application.memory.spec_source import InMemorySpecSource
from stoa.application.ports import SpecDocument, SpecSource
from stoa.domain.errors import InvalidInput, Unavailable
from stoa.infrastructure.files.specs import FileSpecSource, SpecSourceByScheme
from stoa.infrastructure.http_client.spec_source import HttpSpecSource

LIMIT = 10_000
ABSENT = "absent"


@dataclass
class Place:
    source: SpecSource
    prefix: str
    put: Callable[[str, bytes], None]
    takes_bytes: bool = True
    """False: there is no encoding or size to get wrong."""


OpenPlace = Callable[[], AbstractAsyncContextManager[Place]]


@asynccontextmanager
async def _memory() -> AsyncIterator[Place]:
    source = InMemorySpecSource()
    yield Place(source, "", lambda name, content: source.put(name, content.decode("utf-8-sig")), takes_bytes=False)


@asynccontextmanager
async def _files() -> AsyncIterator[Place]:
    with TemporaryDirectory() as directory:
        source = FileSpecSource(Path(directory), max_bytes=LIMIT)
        yield Place(source, "", lambda name, content: Path(directory, name).write_bytes(content) and None)


async def _public(_host: str) -> list[str]:
    return ["203.0.114.7"]


@asynccontextmanager
async def _http() -> AsyncIterator[Place]:
    documents: dict[str, bytes] = {}

    def served(request: httpx.Request) -> httpx.Response:
        content = documents.get(request.url.path[1:])
        return httpx.Response(404, text="secret detail") if content is None else httpx.Response(200, content=content)

    source = HttpSpecSource(transport=httpx.MockTransport(served), resolve=_public, max_bytes=LIMIT)
    yield Place(source, "https://specs.test/", documents.__setitem__)


@asynccontextmanager
async def _by_scheme() -> AsyncIterator[Place]:
    async with _http() as http, _files() as files:
        yield Place(SpecSourceByScheme(files=files.source, remote=http.source), http.prefix, http.put)


@pytest.fixture(scope="session", params=[_memory, _files, _http, _by_scheme], ids=lambda adapter: adapter.__name__)
def open_place(request: pytest.FixtureRequest) -> OpenPlace:
    return request.param


async def test_a_document_is_found_under_its_location_and_stays_equal(open_place):
    async with open_place() as place:
        place.put("pets.yaml", "title: Grüße".encode())
        location = f"{place.prefix}pets.yaml"

        first = await place.source.fetch(location)

        assert first == SpecDocument(location, "title: Grüße")
        assert await place.source.fetch(location) == first


async def test_a_changed_document_is_fetched_anew(open_place):
    async with open_place() as place:
        for text in ("one", "two"):
            place.put("pets.yaml", text.encode())
            assert (await place.source.fetch(f"{place.prefix}pets.yaml")).text == text


async def test_a_byte_order_mark_is_not_part_of_the_text(open_place):
    async with open_place() as place:
        place.put("pets.json", b"\xef\xbb\xbf{}")

        assert (await place.source.fetch(f"{place.prefix}pets.json")).text == "{}"


async def test_nothing_there_is_invalid_input_that_names_the_location(open_place):
    async with open_place() as place:
        with pytest.raises(InvalidInput, match=ABSENT) as caught:
            await place.source.fetch(place.prefix + ABSENT)

    assert "secret detail" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("content", "problem"), [(b"\xff\xfe{", "UTF-8"), (b"x" * (LIMIT + 1), f"larger than {LIMIT}")]
)
async def test_what_is_no_text_or_too_large_is_invalid_input(open_place, content, problem):
    async with open_place() as place:
        if not place.takes_bytes:
            pytest.skip("holds text, not bytes")
        place.put("pets.yaml", content)

        with pytest.raises(InvalidInput, match=rf"pets\.yaml.*{problem}"):
            await place.source.fetch(f"{place.prefix}pets.yaml")


async def test_a_document_at_the_limit_is_taken(open_place):
    async with open_place() as place:
        place.put("pets.yaml", b"x" * LIMIT)

        assert len((await place.source.fetch(f"{place.prefix}pets.yaml")).text) == LIMIT


@settings(max_examples=30)
@given(st.text(max_size=30))
def test_any_location_gives_a_document_or_a_known_error(open_place, location):
    async def fetched() -> None:
        async with open_place() as place:
            try:
                await place.source.fetch(location)
            except (InvalidInput, Unavailable) as error:
                assert error.message

    asyncio.run(fetched())
