"""The REST door: `/mcp/v1/...`. Handlers decode, call one use case, encode."""

from collections.abc import Callable
from typing import Any, TypeVar

from stoa.application.catalogue.list_operations import ListOperations, ListQuery, Page
from stoa.application.gateway import Gateway
from stoa.application.metering.summarise_usage import SummariseUsage
from stoa.domain.calls.invocation import Outcome
from stoa.domain.errors import InvalidInput, StoaError
from stoa.domain.operations.operation import Operation
from stoa.domain.results.result import ToolResult
from stoa.domain.schema.json_value import JsonObject, is_object
from stoa.interfaces.rest.apis import add_apis
from stoa.interfaces.rest.exchange import RestExchanges, body_arguments, facts_of, json_answer
from stoa.interfaces.rest.rate_limit_headers import limit_headers
from stoa.interfaces.rest.usage import add_usage
from stoa.interfaces.wire import shaping
from stoa.interfaces.wire.challenge import ProtectedResource
from stoa.interfaces.wire.endpoints import Endpoints, HttpAnswer, HttpRequest
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
) -> Endpoints:
    """All routes below `/mcp/v1`. `address_of`: returns, from a request's ASGI scope, the address that an
    unauthenticated client is counted under; None: not limited."""
    exchanges = RestExchanges(gateway, resource, address_of)
    routes = Endpoints("rest", url_prefix="/mcp/v1", around=exchanges.answer)

    @routes.on("GET", "/")
    async def info(request: HttpRequest) -> HttpAnswer:
        await gateway.callers.authenticate(request.credential)
        return json_answer({"name": "stoa-mcp-gateway", "version": version, "mcpEndpoint": resource.url})

    _add_tools(routes, exchanges)
    _add_resources(routes, exchanges)
    _add_prompts(routes, exchanges)
    add_usage(routes, gateway, usage)
    add_apis(routes, gateway)
    return routes


def _add_tools(routes: Endpoints, exchanges: RestExchanges) -> None:
    gateway = exchanges.gateway

    @routes.on("GET", "/tools")
    async def tools(request: HttpRequest) -> HttpAnswer:
        return _listed("tools", await _page(request, gateway.list_tools))

    @routes.on("GET", "/tools/categories")
    async def categories(request: HttpRequest) -> HttpAnswer:
        page = await _page(request, gateway.list_tools, everything=True)
        counts = _counted([tool.category] for tool in page.items if tool.category)
        return json_answer({"categories": counts}, headers=limit_headers(page.limit))

    @routes.on("GET", "/tools/tags")
    async def tags(request: HttpRequest) -> HttpAnswer:
        page = await _page(request, gateway.list_tools, everything=True)
        counts = _counted(tool.tags for tool in page.items)
        return json_answer({"tags": counts}, headers=limit_headers(page.limit))

    @routes.on("GET", "/tools/<name>")
    async def tool(request: HttpRequest, name: str) -> HttpAnswer:
        return json_answer(
            shaping.catalogue_entry(
                await gateway.list_tools.find(request.credential, request.tenant, name, "rest"), NEWEST
            )
        )

    @routes.on("GET", "/tools/<name>/explain")
    @routes.on("POST", "/tools/<name>/explain")
    async def explain(request: HttpRequest, name: str) -> HttpAnswer:
        """Explains a call. It is a POST because the arguments are in its body, as for a call."""
        arguments, unusable = await body_arguments(request)
        if unusable is not None:
            raise unusable
        if not is_object(arguments):
            raise InvalidInput('write the body as {"arguments": {...}}')
        explanation = await gateway.explain_call.execute(request.credential, request.tenant, name, arguments, "rest")
        return json_answer(wire_explanation(explanation))

    @routes.on("POST", "/tools/<name>/invoke")
    async def invoke(request: HttpRequest, name: str) -> HttpAnswer:
        outcome = await exchanges.execute(request, "tool", name, has_body=True)
        if outcome.error is not None:
            return exchanges.refused(request, outcome, outcome.error)
        return json_answer(_answer(name, outcome), headers=limit_headers(outcome.limit))


def _add_resources(routes: Endpoints, exchanges: RestExchanges) -> None:
    gateway = exchanges.gateway

    @routes.on("GET", "/resources")
    async def resources(request: HttpRequest) -> HttpAnswer:
        return _listed("resources", await _page(request, gateway.list_resources))

    @routes.on("GET", "/resources/templates")
    async def templates(request: HttpRequest) -> HttpAnswer:
        return _listed("resourceTemplates", await _page(request, gateway.list_resources, templates=True))

    @routes.on("GET", "/resources/read")
    async def read(request: HttpRequest) -> HttpAnswer:
        uri = request.argument("uri")
        outcome = await exchanges.execute(request, "resource", uri)
        try:
            contents = shaping.resource_contents(outcome.content())
        except StoaError as error:
            return exchanges.refused(request, outcome, error)
        answer = {"contents": contents, "uri": uri, **facts_of(outcome)}
        return json_answer(answer, headers=limit_headers(outcome.limit))


def _add_prompts(routes: Endpoints, exchanges: RestExchanges) -> None:
    gateway = exchanges.gateway

    @routes.on("GET", "/prompts")
    async def prompts(request: HttpRequest) -> HttpAnswer:
        return _listed("prompts", await _page(request, gateway.list_prompts))

    @routes.on("POST", "/prompts/<name>")
    async def get(request: HttpRequest, name: str) -> HttpAnswer:
        outcome = await exchanges.execute(request, "prompt", name, has_body=True)
        try:
            messages = shaping.prompt_messages(outcome.content(), NEWEST)
        except StoaError as error:
            return exchanges.refused(request, outcome, error)
        description = prompt_description(gateway, outcome, name)
        answer = {"description": description, "messages": messages, "promptName": name, **facts_of(outcome)}
        return json_answer(answer, headers=limit_headers(outcome.limit))


async def _page(
    request: HttpRequest, use_case: ListOperations[O], *, everything: bool = False, templates: bool = False
) -> Page[O]:
    limit = request.argument("limit", str(MAX_PAGE))
    if not limit.isdecimal() or len(limit) > 9 or not 1 <= int(limit) <= MAX_PAGE:
        raise InvalidInput(f"limit: expected a number from 1 to {MAX_PAGE}")
    tags = {*request.arguments("tag"), *(tag for tags in request.arguments("tags") for tag in tags.split(","))}
    query = ListQuery(
        tenant=request.tenant,
        tags=frozenset(tag for tag in tags if tag),
        category=next(iter(request.arguments("category")), None),
        search=request.argument("search"),
        templates=templates,
        after=request.argument("cursor"),
        limit=1_000_000 if everything else int(limit),
    )
    return await use_case.execute(request.credential, query, "rest")


def _listed(member: str, page: Page[O]) -> HttpAnswer:
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
