"""The REST door: `/mcp/v1/...`. Handlers decode, call one use case, encode."""

from collections.abc import Callable
from typing import Any, TypeVar

from quart import Blueprint, Response, g, request

from stoa.application.catalogue.list_operations import ListOperations, ListQuery, Page
from stoa.application.gateway import Gateway
from stoa.application.metering.summarise_usage import SummariseUsage
from stoa.domain.calls.invocation import Outcome
from stoa.domain.errors import IdentityUnavailable, InvalidInput, NotAuthenticated, StoaError
from stoa.domain.operations.operation import Operation
from stoa.domain.results.result import ToolResult
from stoa.domain.schema.json_value import JsonObject, is_object
from stoa.interfaces.rest.apis import add_apis
from stoa.interfaces.rest.exchange import (
    asked_tenant,
    body_arguments,
    caller_credential,
    execute,
    facts_of,
    header_credential,
    json_answer,
    known_client,
    query_value,
    query_values,
    refusal,
    refused,
)
from stoa.interfaces.rest.rate_limit_headers import limit_headers
from stoa.interfaces.rest.usage import add_usage
from stoa.interfaces.wire import shaping
from stoa.interfaces.wire.challenge import ProtectedResource
from stoa.interfaces.wire.explanation import wire_explanation
from stoa.interfaces.wire.prompts import prompt_description
from stoa.interfaces.wire.revisions import NEWEST

O = TypeVar("O", bound=Operation)  # noqa: E741  # an operation of one kind

MAX_PAGE = 1000


def rest_blueprint(
    gateway: Gateway,
    resource: ProtectedResource,
    version: str,
    usage: SummariseUsage,
    address_of: Callable[[Any], str | None] = lambda _: None,
) -> Blueprint:
    """All routes below `/mcp/v1`. `address_of`: returns, from a request's ASGI scope, the address that an
    unauthenticated client is counted under; None: not limited."""
    routes = Blueprint("rest", __name__, url_prefix="/mcp/v1")

    @routes.before_request
    async def limit_strangers() -> None:
        g.gateway, g.address = gateway, address_of(request.scope)
        gateway.strangers.check(g.address, header_credential(), "rest")

    @routes.get("/")
    async def info() -> Response:
        await gateway.callers.authenticate(caller_credential())
        return json_answer({"name": "stoa-mcp-gateway", "version": version, "mcpEndpoint": resource.url})

    _add_tools(routes, gateway, resource)
    _add_resources(routes, gateway, resource)
    _add_prompts(routes, gateway, resource)
    add_usage(routes, gateway, usage)
    add_apis(routes, gateway)

    @routes.errorhandler(StoaError)
    async def problem(error: StoaError) -> Response:
        if isinstance(error, (NotAuthenticated, IdentityUnavailable)):
            gateway.strangers.refused(g.address, "rest", error)
        return refusal(error, resource, None, client=await known_client(gateway))

    return routes


def _add_tools(routes: Blueprint, gateway: Gateway, resource: ProtectedResource) -> None:
    @routes.get("/tools")
    async def tools() -> Response:
        return _listed("tools", await _page(gateway.list_tools))

    @routes.get("/tools/categories")
    async def categories() -> Response:
        page = await _page(gateway.list_tools, everything=True)
        counts = _counted([tool.category] for tool in page.items if tool.category)
        return json_answer({"categories": counts}, headers=limit_headers(page.limit))

    @routes.get("/tools/tags")
    async def tags() -> Response:
        page = await _page(gateway.list_tools, everything=True)
        counts = _counted(tool.tags for tool in page.items)
        return json_answer({"tags": counts}, headers=limit_headers(page.limit))

    @routes.get("/tools/<name>")
    async def tool(name: str) -> Response:
        return json_answer(
            shaping.catalogue_entry(
                await gateway.list_tools.find(caller_credential(), asked_tenant(), name, "rest"), NEWEST
            )
        )

    @routes.route("/tools/<name>/explain", methods=["GET", "POST"])
    async def explain(name: str) -> Response:
        """Explains a call. It is a POST because the arguments are in its body, as for a call."""
        arguments, unusable = await body_arguments()
        if unusable is not None:
            raise unusable
        if not is_object(arguments):
            raise InvalidInput('write the body as {"arguments": {...}}')
        explanation = await gateway.explain_call.execute(caller_credential(), asked_tenant(), name, arguments, "rest")
        return json_answer(wire_explanation(explanation))

    @routes.post("/tools/<name>/invoke")
    async def invoke(name: str) -> Response:
        outcome = await execute(gateway, "tool", name, has_body=True)
        if outcome.error is not None:
            return refused(outcome, outcome.error, resource)
        return json_answer(_answer(name, outcome), headers=limit_headers(outcome.limit))


def _add_resources(routes: Blueprint, gateway: Gateway, resource: ProtectedResource) -> None:
    @routes.get("/resources")
    async def resources() -> Response:
        return _listed("resources", await _page(gateway.list_resources))

    @routes.get("/resources/templates")
    async def templates() -> Response:
        return _listed("resourceTemplates", await _page(gateway.list_resources, templates=True))

    @routes.get("/resources/read")
    async def read() -> Response:
        uri = query_value("uri")
        outcome = await execute(gateway, "resource", uri)
        try:
            contents = shaping.resource_contents(outcome.content())
        except StoaError as error:
            return refused(outcome, error, resource)
        answer = {"contents": contents, "uri": uri, **facts_of(outcome)}
        return json_answer(answer, headers=limit_headers(outcome.limit))


def _add_prompts(routes: Blueprint, gateway: Gateway, resource: ProtectedResource) -> None:
    @routes.get("/prompts")
    async def prompts() -> Response:
        return _listed("prompts", await _page(gateway.list_prompts))

    @routes.post("/prompts/<name>")
    async def get(name: str) -> Response:
        outcome = await execute(gateway, "prompt", name, has_body=True)
        try:
            messages = shaping.prompt_messages(outcome.content(), NEWEST)
        except StoaError as error:
            return refused(outcome, error, resource)
        description = prompt_description(gateway, outcome, name)
        answer = {"description": description, "messages": messages, "promptName": name, **facts_of(outcome)}
        return json_answer(answer, headers=limit_headers(outcome.limit))


async def _page(use_case: ListOperations[O], *, everything: bool = False, templates: bool = False) -> Page[O]:
    limit = query_value("limit", str(MAX_PAGE))
    if not limit.isdecimal() or len(limit) > 9 or not 1 <= int(limit) <= MAX_PAGE:
        raise InvalidInput(f"limit: expected a number from 1 to {MAX_PAGE}")
    tags = {*query_values("tag"), *(tag for tags in query_values("tags") for tag in tags.split(","))}
    query = ListQuery(
        tenant=asked_tenant(),
        tags=frozenset(tag for tag in tags if tag),
        category=next(iter(query_values("category")), None),
        search=query_value("search"),
        templates=templates,
        after=query_value("cursor"),
        limit=1_000_000 if everything else int(limit),
    )
    return await use_case.execute(caller_credential(), query, "rest")


def _listed(member: str, page: Page[O]) -> Response:
    listed = {
        member: [shaping.catalogue_entry(operation, NEWEST) for operation in page.items],
        "nextCursor": page.next_after,
        "totalCount": page.total,
    }
    return json_answer(listed, headers=limit_headers(page.limit))


def _counted(groups: Any) -> list[JsonObject]:
    counts: dict[str, int] = {}
    for group in groups:
        for name in group:
            counts[name] = counts.get(name, 0) + 1
    return [{"name": name, "count": count} for name, count in sorted(counts.items())]


def _answer(name: str, outcome: Outcome) -> JsonObject:
    return {
        "result": {
            "isError": False,
            **shaping.tool_result(outcome.result or ToolResult(()), NEWEST, outcome.coerced, outcome.tolerated),
        },
        "toolName": name,
        **facts_of(outcome),
    }
