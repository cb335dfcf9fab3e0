"""Reviews of the pet store's pets, as a GraphQL service; it needs the extra `graphql`."""

from functools import cached_property
from importlib import import_module
from typing import Any

import pydantic_core
from quart import Blueprint, Response, request

_SCHEMA = '''
"""Reviews of pets, by people who took one home."""
type Query {
  "Reviews, the newest first."
  reviews(petId: Int, minStars: Int = 1): [Review!]!
}
type Mutation {
  "Writes a review."
  addReview(petId: Int!, stars: Int!, text: String): Review!
}
type Review { id: ID!, petId: Int!, stars: Int!, text: String }
'''


class Reviews:
    """The resolvers: methods with the names of the root fields, as graphql-core calls them on a root value."""

    def __init__(self) -> None:
        texts = ((1, 5, "Sleeps at the door."), (2, 4, "Does not care, charmingly."), (4, 2, "Talks at night."))
        self._reviews: list[dict[str, Any]] = [
            {"id": str(number), "petId": pet, "stars": stars, "text": text}
            for number, (pet, stars, text) in enumerate(texts, 1)
        ]

    def routes(self) -> Blueprint:
        """One route: GraphQL over HTTP."""
        routes = Blueprint("reviews", __name__)
        routes.post("/graphql")(self._answer)
        return routes

    def reviews(self, _info: Any, petId: int | None = None, minStars: int = 1) -> list[dict[str, Any]]:  # noqa: N803
        fitting = [each for each in self._reviews if petId in {None, each["petId"]} and each["stars"] >= minStars]
        return fitting[::-1]

    def addReview(self, _info: Any, petId: int, stars: int, text: str | None = None) -> dict[str, Any]:  # noqa: N802, N803
        review: dict[str, Any] = {"id": str(len(self._reviews) + 1), "petId": petId, "stars": stars, "text": text}
        self._reviews.append(review)
        return review

    @cached_property
    def _schema(self) -> Any:
        return import_module("graphql").build_schema(_SCHEMA)

    async def _answer(self) -> Response:
        asked = await request.get_json(force=True)
        library: Any = import_module("graphql")
        result = library.graphql_sync(self._schema, asked["query"], self, variable_values=asked.get("variables"))
        body = pydantic_core.to_json(result.formatted)
        return Response(body, content_type="application/graphql-response+json")
