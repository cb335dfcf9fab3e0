"""A pet store with its state in memory; `petstore.openapi.yaml` describes it to the gateway, and tests hold the two
together."""

from collections import Counter
from datetime import date
from itertools import count
from typing import Annotated, Literal

from pydantic import Field
from quart import Blueprint, Response, abort

from stoa.interfaces.demo.answers import Json, json_answer, read_body, read_query
from stoa.interfaces.demo.pet_image import draw

Species = Literal["dog", "cat", "rabbit", "parrot", "hamster"]
Status = Literal["available", "pending", "sold"]
Name = Annotated[str, Field(min_length=1, max_length=80)]
Age = Annotated[int, Field(ge=0, le=1200)]
Price = Annotated[float, Field(ge=0, le=100_000)]
Tags = Annotated[list[str], Field(max_length=10)]


class NewPet(Json):
    name: Name
    species: Species
    age_months: Age
    price_eur: Price
    status: Status = "available"
    tags: Tags = Field(default_factory=list[str])


class Pet(NewPet):
    id: int


class PetChange(Json):
    """Members that are absent keep their value."""

    name: Name | None = None
    age_months: Age | None = None
    price_eur: Price | None = None
    status: Status | None = None
    tags: Tags | None = None


class PetQuery(Json):
    q: str = ""
    species: Species | None = None
    status: Status | None = None
    max_price_eur: Annotated[float, Field(ge=0)] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    offset: Annotated[int, Field(ge=0)] = 0


class PetPage(Json):
    pets: list[Pet]
    total: int


class StoreInventory(Json):
    available: int
    pending: int
    sold: int


class NewOrder(Json):
    pet_id: int
    customer_name: Name
    pickup_date: date | None = None


class Order(NewOrder):
    id: int
    status: Literal["placed"] = "placed"
    total_eur: float


_PETS = (
    ("Biscuit", "dog", 14, 450.0, "available", ["golden-retriever", "vaccinated"]),
    ("Nori", "cat", 9, 180.0, "available", ["black", "indoor"]),
    ("Clover", "rabbit", 5, 45.0, "available", ["lop-eared"]),
    ("Captain", "parrot", 60, 900.0, "pending", ["talks", "blue-and-gold"]),
    ("Peanut", "hamster", 3, 15.0, "available", ["nocturnal"]),
    ("Freya", "dog", 30, 320.0, "sold", ["husky", "house-trained"]),
    ("Miso", "cat", 26, 120.0, "available", ["tabby", "good-with-children"]),
    ("Thistle", "rabbit", 11, 60.0, "pending", ["angora"]),
    ("Juno", "dog", 4, 520.0, "available", ["border-collie", "vaccinated"]),
    ("Pixel", "hamster", 6, 18.0, "sold", ["dwarf"]),
)


class PetStore:
    """The handlers of one store; `routes` maps paths to them."""

    def __init__(self) -> None:
        self._pet_ids = count(1)
        self._order_ids = count(5001)
        self._orders: dict[int, Order] = {}
        self._pets: dict[int, Pet] = {}
        for name, species, age, price, status, tags in _PETS:
            new = {"name": name, "species": species, "age_months": age, "price_eur": price}
            self._add(NewPet.model_validate({**new, "status": status, "tags": tags}))

    def routes(self) -> Blueprint:
        blueprint = Blueprint("petstore", __name__)
        for method, path, view in (
            ("GET", "/pets", self.list_pets),
            ("POST", "/pets", self.add_pet),
            ("GET", "/pets/<int:pet_id>", self.get_pet),
            ("PATCH", "/pets/<int:pet_id>", self.update_pet),
            ("DELETE", "/pets/<int:pet_id>", self.delete_pet),
            ("GET", "/pets/<int:pet_id>/image", self.get_pet_image),
            ("GET", "/store/inventory", self.get_inventory),
            ("POST", "/store/orders", self.place_order),
            ("GET", "/store/orders/<int:order_id>", self.get_order),
        ):
            blueprint.add_url_rule(path, view_func=view, methods=[method])
        return blueprint

    async def list_pets(self) -> Response:
        query = read_query(PetQuery)
        pets = [pet for pet in self._pets.values() if _fits(pet, query)]
        return json_answer(PetPage(pets=pets[query.offset : query.offset + query.limit], total=len(pets)))

    async def add_pet(self) -> Response:
        return json_answer(self._add(await read_body(NewPet)), 201)

    async def get_pet(self, pet_id: int) -> Response:
        return json_answer(self._pet(pet_id))

    async def update_pet(self, pet_id: int) -> Response:
        pet = self._pet(pet_id)
        change = await read_body(PetChange)
        self._pets[pet_id] = pet.model_copy(update=change.model_dump(exclude_none=True))
        return json_answer(self._pets[pet_id])

    async def delete_pet(self, pet_id: int) -> Response:
        self._pet(pet_id)
        del self._pets[pet_id]
        return Response(b"", 204)

    async def get_pet_image(self, pet_id: int) -> Response:
        return Response(draw(self._pet(pet_id).species), content_type="image/png")

    async def get_inventory(self) -> Response:
        counted = Counter(pet.status for pet in self._pets.values())
        return json_answer(
            StoreInventory(available=counted["available"], pending=counted["pending"], sold=counted["sold"])
        )

    async def place_order(self) -> Response:
        new = await read_body(NewOrder)
        pet = self._pets.get(new.pet_id)
        if pet is None:
            abort(422, description=f"No pet has the id {new.pet_id}")
        if pet.status != "available":
            abort(409, description=f"{pet.name} is {pet.status} and cannot be ordered")
        self._pets[pet.id] = pet.model_copy(update={"status": "pending"})
        order = Order(id=next(self._order_ids), total_eur=pet.price_eur, **new.model_dump())
        self._orders[order.id] = order
        return json_answer(order, 201)

    async def get_order(self, order_id: int) -> Response:
        order = self._orders.get(order_id)
        if order is None:
            abort(404, description=f"No order has the id {order_id}")
        return json_answer(order)

    def _add(self, new: NewPet) -> Pet:
        pet = Pet(id=next(self._pet_ids), **new.model_dump())
        self._pets[pet.id] = pet
        return pet

    def _pet(self, pet_id: int) -> Pet:
        pet = self._pets.get(pet_id)
        if pet is None:
            abort(404, description=f"No pet has the id {pet_id}")
        return pet


def _fits(pet: Pet, query: PetQuery) -> bool:
    text = " ".join((pet.name, pet.species, *pet.tags)).casefold()
    return (
        all(word in text for word in query.q.casefold().split())
        and query.species in {None, pet.species}
        and query.status in {None, pet.status}
        and (query.max_price_eur is None or pet.price_eur <= query.max_price_eur)
    )
