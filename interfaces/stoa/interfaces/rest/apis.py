"""`/mcp/v1/apis/{api}`: what became of an API description, and the approval of its changes."""

from quart import Blueprint, Response, request

from stoa.application.gateway import Gateway
from stoa.domain.errors import InvalidInput
from stoa.interfaces.rest.exchange import asked_tenant, caller_credential, json_answer, query_value
from stoa.interfaces.wire.api_changes import changes_as_json
from stoa.interfaces.wire.conversion_report import HTML_HEADERS, as_html, as_json, as_text

_FORMS = ("json", "text", "html")


def add_apis(routes: Blueprint, gateway: Gateway) -> None:
    @routes.get("/apis/<api>/report")
    async def report(api: str) -> Response:
        """The conversion report, as `format` or else as Accept prefers."""
        form = query_value("format") or ("html" if _prefers_html() else "json")
        if form not in _FORMS:
            raise InvalidInput("format: expected json, text or html")
        told = await gateway.api_descriptions.report(caller_credential(), asked_tenant(), api)
        if form == "html":
            return Response(as_html(told), headers=HTML_HEADERS, content_type="text/html; charset=utf-8")
        if form == "text":
            return Response(as_text(told), content_type="text/plain; charset=utf-8")
        return json_answer(as_json(told))

    @routes.get("/apis/<api>/changes")
    async def changes(api: str) -> Response:
        return json_answer(
            changes_as_json(await gateway.api_descriptions.tool_set(caller_credential(), asked_tenant(), api))
        )

    @routes.post("/apis/<api>/approve")
    async def approve(api: str) -> Response:
        """Puts the version with the `digest` in the query in use."""
        digest = query_value("digest")
        return json_answer(
            changes_as_json(await gateway.api_descriptions.approve(caller_credential(), asked_tenant(), api, digest))
        )


def _prefers_html() -> bool:
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"
