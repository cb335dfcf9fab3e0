"""Token endpoints over HTTP with aiohttp.

The client proves itself by HTTP Basic, which every server supports (RFC 6749 section 2.3.1). In clear text only
addresses that are not public are reached. Cookies are not kept, proxies of the environment are not used, no redirect is
followed.
"""

import base64
import logging
from dataclasses import replace
from urllib.parse import quote_plus, urlencode

import aiohttp
from aiohttp.http import HttpProcessingError

from stoa.application.ports.token_endpoint import GrantedToken, TokenEndpoint, TokenRequest
from stoa.domain.errors import BackendError, BackendProtocolError, BackendTimedOut, BackendUnavailable, StoaError
from stoa.infrastructure.http_client import ANYWHERE, ForbiddenAddress, HostResolver, OutboundRules
from stoa.infrastructure.http_client import token_answers as answers
from stoa.infrastructure.http_client.body import AnswerTooLong, bounded_body
from stoa.infrastructure.http_client.connector import guarded_connector
from stoa.infrastructure.http_client.problems import connection_problem

TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 256 * 1024

_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  # the name of a type
_FAILURES = (aiohttp.ClientError, HttpProcessingError, OSError, ValueError)
"""What aiohttp raises for a peer that is away, slow or talks nonsense, and for what cannot be sent."""

_log = logging.getLogger(__name__)


class HttpTokenEndpoint(TokenEndpoint):
    """`rules`: which addresses may be connected to."""

    def __init__(
        self,
        rules: OutboundRules = ANYWHERE,
        resolver: HostResolver | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._resolver = resolver
        self._rules = {"https": rules, "http": replace(rules, allows_public=False)}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def grant(self, request: TokenRequest) -> GrantedToken:
        problem: StoaError
        try:
            status, body = await self._post(request)
        except _FAILURES as caught:
            problem, reason = _translated(caught)
        else:
            try:
                return answers.granted(status, body, request)
            except StoaError as refused:
                problem, reason = refused, f"it answered {status} {answers.error_code(body) or ''}".rstrip()
        _log.warning("no token from %s for client %s: %s", request.url.partition("?")[0], request.client_id, reason)
        raise problem  # outside the handler: what aiohttp says may quote what was sent

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def _post(self, request: TokenRequest) -> tuple[int, bytes]:
        session = self._session(request.url.partition(":")[0].lower())
        headers = {
            "Accept": "application/json",
            "Authorization": _basic(request),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        body = urlencode(_form(request)).encode("ascii")
        async with session.post(request.url, data=body, headers=headers, allow_redirects=False) as response:
            return response.status, await bounded_body(response, MAX_ANSWER_BYTES)

    def _session(self, scheme: str) -> aiohttp.ClientSession:
        session = self._sessions.get(scheme)
        if session is None:
            session = self._sessions[scheme] = aiohttp.ClientSession(
                # No limit of its own: callers of one token endpoint that hangs must not keep others from theirs.
                connector=guarded_connector(self._rules.get(scheme, self._rules["http"]), self._resolver, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                trust_env=False,
            )
        return session


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
    """The error for the caller, and the reason for the log: neither holds anything of what was sent or answered."""
    forbidden = getattr(caught, "os_error", None)
    if isinstance(forbidden, ForbiddenAddress):
        message = "The authorization server of the back end is at an address that the gateway may not call"
        return BackendUnavailable(message), str(forbidden)
    reason = connection_problem(caught)
    if isinstance(caught, TimeoutError):
        return BackendTimedOut("The authorization server of the back end did not answer in time"), reason
    if isinstance(
        caught, (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, HttpProcessingError, AnswerTooLong)
    ):
        return BackendProtocolError("The authorization server of the back end did not answer like one"), reason
    if isinstance(caught, UnicodeError):
        return BackendUnavailable("The tool's secret cannot be sent; store clientId and clientSecret as UTF-8"), reason
    return BackendUnavailable("The authorization server of the back end cannot be reached"), reason
