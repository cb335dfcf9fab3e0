"""JSON input and problem responses (RFC 9457) of the demo's upstream, shared by its APIs."""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from quart import Response, abort, request
from werkzeug.exceptions import HTTPException


class Json(BaseModel):
    """A JSON object with camelCase names. Unknown members are refused, so that a typing error does not pass
    silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


ModelT = TypeVar("ModelT", bound=BaseModel)


async def read_body(model: type[ModelT]) -> ModelT:
    """Reads the request's body; answers 400 if it is invalid."""
    try:
        return model.model_validate_json(await request.get_data())
    except ValidationError as problem:
        abort(400, description=_describe(problem))


def read_query(model: type[ModelT]) -> ModelT:
    """Reads the request's query; answers 400 if it is invalid."""
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as problem:
        abort(400, description=_describe(problem))


def json_answer(value: Json, status: int = 200) -> Response:
    return Response(value.model_dump_json(by_alias=True), status, content_type="application/json")


async def problem_answer(error: HTTPException) -> Response:
    """The problem response for an HTTP error; the error handler of the whole app."""
    status = error.code or 500
    problem = Problem(title=error.name, status=status, detail=error.description or error.name)
    return Response(problem.model_dump_json(by_alias=True), status, content_type="application/problem+json")


class Problem(Json):
    title: str
    status: int
    detail: str


def _describe(problem: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in each['loc']) or 'body'}: {each['msg']}"
        for each in problem.errors(include_url=False, include_input=False)
    )
