"""What the pet store does, beyond the form of its answers."""

import struct
import zlib
from typing import Any

from quart.typing import TestClientProtocol as Client

from stoa.interfaces.demo import build_upstream


async def get(client: Client, path: str) -> Any:
    return await (await client.get(f"/petstore{path}")).get_json()


async def test_search_returns_the_pets_that_fit_all_conditions(client: Client) -> None:
    page = await get(client, "/pets?q=Vaccinated&species=dog&maxPriceEur=500")
    assert [pet["name"] for pet in page["pets"]] == ["Biscuit"]
    assert page["total"] == 1


async def test_pages_cover_all_pets_once(client: Client) -> None:
    pages = [await get(client, f"/pets?limit=4&offset={offset}") for offset in (0, 4, 8, 12)]
    everything = await get(client, "/pets?limit=100")
    assert [pet for page in pages for pet in page["pets"]] == everything["pets"]
    assert {page["total"] for page in pages} == {len(everything["pets"])}


async def test_added_pet_can_be_read_changed_and_deleted(client: Client) -> None:
    new = {"name": "Mango", "species": "parrot", "ageMonths": 8, "priceEur": 240}
    added = await (await client.post("/petstore/pets", json=new)).get_json()
    path = f"/pets/{added['id']}"
    assert await get(client, path) == added == {**new, "id": added["id"], "status": "available", "tags": []}
    changed = await (await client.patch(f"/petstore{path}", json={"priceEur": 200})).get_json()
    assert changed == {**added, "priceEur": 200}
    await client.delete(f"/petstore{path}")
    assert (await client.get(f"/petstore{path}")).status_code == 404


async def test_ordered_pet_is_no_longer_available(client: Client) -> None:
    before = await get(client, "/store/inventory")
    order = await (await client.post("/petstore/store/orders", json={"petId": 1, "customerName": "Ada"})).get_json()
    assert await get(client, f"/store/orders/{order['id']}") == order
    assert (await get(client, "/pets/1"))["status"] == "pending"
    after = await get(client, "/store/inventory")
    assert after == {**before, "available": before["available"] - 1, "pending": before["pending"] + 1}
    again = await client.post("/petstore/store/orders", json={"petId": 1, "customerName": "Bob"})
    assert again.status_code == 409


async def test_changes_of_one_store_are_not_seen_by_another(client: Client) -> None:
    await client.delete("/petstore/pets/1")
    assert (await get(build_upstream().test_client(), "/pets/1"))["name"] == "Biscuit"


async def test_picture_is_a_png_that_decodes_to_its_size(client: Client) -> None:
    image = await (await client.get("/petstore/pets/1/image")).get_data(as_text=False)
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    chunks: dict[bytes, bytes] = {}
    rest = image[8:]
    while rest:
        [length] = struct.unpack(">I", rest[:4])
        kind, data, checksum = rest[4:8], rest[8 : 8 + length], rest[8 + length : 12 + length]
        assert struct.unpack(">I", checksum) == (zlib.crc32(kind + data),)
        chunks[kind], rest = data, rest[12 + length :]
    width, height, depth, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (width, height, depth) == (64, 64, 8)
    assert len(zlib.decompress(chunks[b"IDAT"])) == height * (1 + width)
    assert list(chunks)[-1] == b"IEND"
