"""`/mcp/v1/apis/{api}`: what became of an API description, and the approval of its changes."""

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from stoa.application.gateway import Gateway
from stoa.domain.errors import InvalidInput
from stoa.interfaces.rest.exchange import json_answer
from stoa.interfaces.wire.api_changes import changes_as_json
from stoa.interfaces.wire.conversion_report import HTML_HEADERS, as_html, as_json, as_text
from stoa.interfaces.wire.endpoints import Endpoints, HttpAnswer, HttpRequest

_FORMS = ("json", "text", "html")


def add_apis(routes: Endpoints, gateway: Gateway) -> None:
    @routes.on("GET", "/apis/<api>/report")
    async def report(request: HttpRequest, api: str) -> HttpAnswer:
        """The conversion report, as `format` or else as Accept prefers."""
        form = request.argument("format") or ("html" if _prefers_html(request) else "json")
        if form not in _FORMS:
            raise InvalidInput("format: expected json, text or html")
        told = await gateway.api_descriptions.report(request.credential, request.tenant, api)
        if form == "html":
            return HttpAnswer(as_html(told).encode(), headers=HTML_HEADERS, content_type="text/html; charset=utf-8")
        if form == "text":
            return HttpAnswer(as_text(told).encode(), content_type="text/plain; charset=utf-8")
        return json_answer(as_json(told))

    @routes.on("GET", "/apis/<api>/changes")
    async def changes(request: HttpRequest, api: str) -> HttpAnswer:
        return json_answer(
            changes_as_json(await gateway.api_descriptions.tool_set(request.credential, request.tenant, api))
        )

    @routes.on("POST", "/apis/<api>/approve")
    async def approve(request: HttpRequest, api: str) -> HttpAnswer:
        """Puts the version with the `digest` in the query in use."""
        digest = request.argument("digest")
        return json_answer(
            changes_as_json(await gateway.api_descriptions.approve(request.credential, request.tenant, api, digest))
        )


def _prefers_html(request: HttpRequest) -> bool:
    accepted = parse_accept_header(request.header(b"accept"), MIMEAccept)
    return accepted.best_match(["application/json", "text/html"]) == "text/html"
