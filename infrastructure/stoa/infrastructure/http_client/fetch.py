"""Makes one small request for a check: returns status, body and the server's clock, or the reason why there was no
answer."""

from collections.abc import Mapping

from stoa.infrastructure.http_client.client import HttpAnswer, HttpClient
from stoa.infrastructure.http_client.problems import connection_problem
from stoa.infrastructure.http_client.resolver import HostResolver
from stoa.infrastructure.http_client.rules import ANYWHERE, OutboundRules

MAX_BYTES = 1024 * 1024
TIMEOUT_SECONDS = 8.0


class NoAnswer(OSError):
    """No response came. The text gives operators the reason and repeats nothing of the request."""


async def fetch(
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    rules: OutboundRules = ANYWHERE,
    resolver: HostResolver | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> HttpAnswer:
    """GET, or POST of a form; no redirect is followed. Raises NoAnswer."""
    client = HttpClient(rules, resolver, timeout_seconds=timeout_seconds, max_answer_bytes=MAX_BYTES)
    try:
        return await client.request("GET" if form is None else "POST", url, data=form)
    except OSError as caught:
        problem = connection_problem(caught)
    finally:
        await client.close()
    raise NoAnswer(problem)
