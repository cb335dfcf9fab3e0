"""The REST door: `/mcp/v1/...`. Handlers decode, call one use case, encode."""

from typing import Any

import pydantic_core
from quart import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from stoa.application.gateway import Gateway
from stoa.application.list_tools import ToolPage, ToolQuery
from stoa.domain.errors import InvalidArguments, InvalidInput, QuotaExceeded, StoaError
from stoa.domain.identity import TenantId
from stoa.domain.invocation import Credential, Invocation, Outcome
from stoa.domain.json_value import JsonObject, is_object
from stoa.domain.money import to_json_number
from stoa.domain.result import ToolResult
from stoa.domain.tool import Tool
from stoa.interfaces.challenge import ProtectedResource
from stoa.interfaces.errors import retry_after_seconds, wire_error
from stoa.interfaces.mcp import shaping
from stoa.interfaces.mcp.revisions import NEWEST
from stoa.interfaces.mcp.streamable_http import credential_of, tenant_of

MAX_PAGE = 1000


def rest_blueprint(gateway: Gateway, resource: ProtectedResource, version: str) -> Blueprint:
    """All routes below `/mcp/v1`."""
    routes = Blueprint("rest", __name__, url_prefix="/mcp/v1")

    @routes.get("/")
    async def info() -> Response:
        await gateway.admission.authenticate(_credential())
        return _json({"name": "stoa-mcp-gateway", "version": version, "mcpEndpoint": resource.url})

    @routes.get("/tools")
    async def tools() -> Response:
        page = await _page(gateway)
        return _json(
            {"tools": [_tool(tool) for tool in page.tools], "nextCursor": page.next_after, "totalCount": page.total}
        )

    @routes.get("/tools/categories")
    async def categories() -> Response:
        listed = (await _page(gateway, everything=True)).tools
        return _json({"categories": _counted([tool.category] for tool in listed if tool.category)})

    @routes.get("/tools/tags")
    async def tags() -> Response:
        listed = (await _page(gateway, everything=True)).tools
        return _json({"tags": _counted(tool.tags for tool in listed)})

    @routes.get("/tools/<name>")
    async def tool(name: str) -> Response:
        return _json(_tool(await gateway.list_tools.find(_credential(), _tenant(), name, "rest")))

    @routes.post("/tools/<name>/invoke")
    async def invoke(name: str) -> Response:
        arguments, oversize = await _arguments()
        outcome = await gateway.invoke_tool.execute(
            Invocation(
                credential=_credential(),
                tool=name,
                arguments=arguments,
                door="rest",
                tenant=_tenant(),
                request_id=request.headers.get("x-request-id"),
                consumer=request.headers.get("x-consumer-id") or "unknown",
            )
        )
        if oversize is not None and isinstance(outcome.error, InvalidArguments):
            raise oversize
        if outcome.error is not None:
            return _refusal(outcome.error, resource, outcome.request_id)
        return _json(_answer(name, outcome))

    @routes.errorhandler(StoaError)
    async def refused(error: StoaError) -> Response:
        return _refusal(error, resource, None)

    return routes


def _credential() -> Credential:
    return credential_of(request.headers.get("authorization"))


def _tenant() -> TenantId | None:
    return tenant_of(request.query_string)


async def _page(gateway: Gateway, *, everything: bool = False) -> ToolPage:
    args = request.args
    limit = args.get("limit", str(MAX_PAGE))
    if not limit.isdecimal() or len(limit) > 9 or not 1 <= int(limit) <= MAX_PAGE:
        raise InvalidInput(f"limit: expected a number from 1 to {MAX_PAGE}")
    tags = {*args.getlist("tag"), *(tag for tags in args.getlist("tags") for tag in tags.split(","))}
    query = ToolQuery(
        tenant=_tenant(),
        tags=frozenset(tag for tag in tags if tag),
        category=args.get("category"),
        search=args.get("search", ""),
        after=args.get("cursor", ""),
        limit=1_000_000 if everything else int(limit),
    )
    return await gateway.list_tools.execute(_credential(), query, "rest")


async def _arguments() -> tuple[Any, RequestEntityTooLarge | None]:
    """What the body says; a body that says nothing usable becomes a value that the pipeline refuses and meters."""
    try:
        body = await request.get_data()
    except RequestEntityTooLarge as oversize:
        return None, oversize
    if not body:
        return {}, None
    try:
        content = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError:
        return None, None
    return content.get("arguments", {}) if is_object(content) else None, None


def _counted(groups: Any) -> list[JsonObject]:
    counts: dict[str, int] = {}
    for group in groups:
        for name in group:
            counts[name] = counts.get(name, 0) + 1
    return [{"name": name, "count": count} for name, count in sorted(counts.items())]


def _tool(tool: Tool) -> JsonObject:
    rest = {"tags": list(tool.tags), "category": tool.category, "version": tool.version, "tenantId": tool.tenant}
    return {**shaping.tool(tool, NEWEST), **{name: value for name, value in rest.items() if value is not None}}


def _answer(name: str, outcome: Outcome) -> JsonObject:
    return {
        "result": {"isError": False, **shaping.tool_result(outcome.result or ToolResult(()), NEWEST)},
        "toolName": name,
        "invokedAt": outcome.event.timestamp,
        "requestId": outcome.request_id,
        "latencyMs": outcome.latency_ms,
        "costUnits": to_json_number(outcome.cost),
    }


def _refusal(error: StoaError, resource: ProtectedResource, request_id: str | None) -> Response:
    body: JsonObject = {"error": error.code, "message": error.message}
    if isinstance(error, InvalidArguments):
        body["violations"] = [{"path": v.path, "expected": v.expected} for v in error.violations]
    if request_id is not None:
        body["requestId"] = request_id
    headers: dict[str, str] = {}
    challenge = resource.challenge(error)
    if challenge is not None:
        headers["WWW-Authenticate"] = challenge
    if isinstance(error, QuotaExceeded):
        headers["Retry-After"] = str(retry_after_seconds(error))
    return _json(body, wire_error(error).http_status, headers)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(pydantic_core.to_json(value), status, headers, content_type="application/json")
