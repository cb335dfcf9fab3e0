"""Asks token endpoints over HTTP.

The client authenticates by HTTP Basic, which every server supports (RFC 6749 section 2.3.1). Requests in clear text go
to non-public addresses only. Cookies are not kept, proxies of the environment are not used, no redirect is followed.
"""

import base64
import logging
from dataclasses import replace
from urllib.parse import quote_plus, urlencode

from stoa.application.ports.token_endpoint import GrantedToken, TokenEndpoint, TokenRequest
from stoa.domain.errors import BackendError, BackendProtocolError, BackendTimedOut, BackendUnavailable, StoaError
from stoa.infrastructure.http_client import ANYWHERE, ForbiddenAddress, HostResolver, OutboundRules
from stoa.infrastructure.http_client import token_answers as answers
from stoa.infrastructure.http_client.client import HttpAnswer, HttpClient
from stoa.infrastructure.http_client.failures import InvalidResponse
from stoa.infrastructure.http_client.problems import connection_problem

TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 256 * 1024

_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  # the name of a type
_FAILURES = (OSError, ValueError)
"""Of a peer that is unreachable, slow or breaks the protocol, and of a request that cannot be sent."""

_log = logging.getLogger(__name__)


class HttpTokenEndpoint(TokenEndpoint):
    """Requests tokens over HTTP. `rules`: the addresses that may be reached."""

    def __init__(
        self,
        rules: OutboundRules = ANYWHERE,
        resolver: HostResolver | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        def client(rules: OutboundRules) -> HttpClient:
            return HttpClient(rules, resolver, timeout_seconds=timeout_seconds, max_answer_bytes=MAX_ANSWER_BYTES)

        self._encrypted, self._clear_text = client(rules), client(replace(rules, allows_public=False))

    async def grant(self, request: TokenRequest) -> GrantedToken:
        problem: StoaError
        try:
            answer = await self._post(request)
        except _FAILURES as caught:
            problem, reason = _translated(caught)
        else:
            try:
                return answers.granted(answer.status, answer.body, request)
            except StoaError as refused:
                code = answers.error_code(answer.body) or ""
                problem, reason = refused, f"it answered {answer.status} {code}".rstrip()
        _log.warning("no token from %s for client %s: %s", request.url.partition("?")[0], request.client_id, reason)
        raise problem  # outside the handler, so that no text of the response is chained to it

    async def close(self) -> None:
        await self._encrypted.close()
        await self._clear_text.close()

    async def _post(self, request: TokenRequest) -> HttpAnswer:
        is_encrypted = request.url.partition(":")[0].lower() == "https"
        headers = {
            "Accept": "application/json",
            "Authorization": _basic(request),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        body = urlencode(_form(request)).encode("ascii")
        client = self._encrypted if is_encrypted else self._clear_text
        return await client.request("POST", request.url, data=body, headers=headers)


def _form(request: TokenRequest) -> dict[str, str]:
    form = {"grant_type": "client_credentials" if request.subject is None else _EXCHANGE}
    if request.audience is not None:
        form["audience"] = request.audience
    if request.scopes:
        form["scope"] = " ".join(request.scopes)
    if request.subject is not None:
        form["subject_token"] = request.subject.value
        form["subject_token_type"] = form["requested_token_type"] = _ACCESS_TOKEN
    return form


def _basic(request: TokenRequest) -> str:
    pair = f"{quote_plus(request.client_id)}:{quote_plus(request.client_secret)}"
    return f"Basic {base64.b64encode(pair.encode('ascii')).decode('ascii')}"


def _translated(caught: Exception) -> tuple[BackendError, str]:
    """The error for the caller and the reason for the log. Neither repeats anything of the request or the response."""
    forbidden = caught.__cause__
    if isinstance(forbidden, ForbiddenAddress):
        message = "The authorization server of the back end is at an address that the gateway may not call"
        return BackendUnavailable(message), str(forbidden)
    reason = connection_problem(caught)
    if isinstance(caught, TimeoutError):
        return BackendTimedOut("The authorization server of the back end did not answer in time"), reason
    if isinstance(caught, InvalidResponse):
        return BackendProtocolError("The authorization server of the back end did not answer like one"), reason
    if isinstance(caught, UnicodeError):
        return BackendUnavailable("The tool's secret cannot be sent; store clientId and clientSecret as UTF-8"), reason
    return BackendUnavailable("The authorization server of the back end cannot be reached"), reason
