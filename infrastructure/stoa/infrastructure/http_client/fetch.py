"""One small request, for checks: status, body and the server's clock, or why there was no answer."""

from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
import pydantic_core

from stoa.domain.schema.json_value import JsonObject, as_object
from stoa.infrastructure.http_client.body import AnswerTooLong, bounded_body
from stoa.infrastructure.http_client.connector import guarded_connector
from stoa.infrastructure.http_client.problems import connection_problem
from stoa.infrastructure.http_client.resolver import HostResolver
from stoa.infrastructure.http_client.rules import ANYWHERE, OutboundRules

MAX_BYTES = 1024 * 1024
TIMEOUT_SECONDS = 8.0


class NoAnswer(OSError):
    """The text says why, for operators; it repeats nothing of what was sent."""


@dataclass(frozen=True, slots=True)
class Fetched:
    status: int
    body: bytes
    date: str | None
    """The Date header (RFC 9110 section 6.6.1)."""

    def json(self) -> JsonObject:
        """The body as a JSON object; empty when it is none."""
        try:
            return as_object(pydantic_core.from_json(self.body))
        except ValueError:
            return {}


async def fetch(
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    rules: OutboundRules = ANYWHERE,
    resolver: HostResolver | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Fetched:
    """GET, or POST of a form; no redirect is followed. Raises NoAnswer."""
    try:
        async with (
            aiohttp.ClientSession(
                connector=guarded_connector(rules, resolver),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=timeout_seconds),
                trust_env=False,
            ) as session,
            session.request("GET" if form is None else "POST", url, data=form, allow_redirects=False) as response,
        ):
            body = await bounded_body(response, MAX_BYTES)
            return Fetched(response.status, body, response.headers.get("Date"))
    except (aiohttp.ClientError, OSError, AnswerTooLong, ValueError) as caught:
        problem = connection_problem(caught)
    raise NoAnswer(problem)
