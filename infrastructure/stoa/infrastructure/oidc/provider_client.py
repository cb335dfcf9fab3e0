"""HTTP client for the identity provider: small responses, no redirects, bounded time, reused connections."""

from collections.abc import Mapping

from stoa.infrastructure.http_client import ANYWHERE, HostResolver, OutboundRules
from stoa.infrastructure.http_client.client import HttpClient
from stoa.infrastructure.http_client.failures import ResponseTooLong
from stoa.infrastructure.http_client.problems import connection_problem

TIMEOUT_SECONDS = 5.0
MAX_ANSWER_BYTES = 1024 * 1024


class ProviderClient:
    """Sends requests to the provider. Raises OSError, or ValueError for an unusable response; messages name the URL and
    the reason, but no secret."""

    def __init__(
        self,
        rules: OutboundRules = ANYWHERE,
        resolver: HostResolver | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._http = HttpClient(rules, resolver, timeout_seconds=timeout_seconds, max_answer_bytes=MAX_ANSWER_BYTES)

    async def get(self, url: str) -> bytes:
        status, body = await self._request("GET", url)
        if status != 200:
            raise ValueError(f"{url} answered {status}")
        return body

    async def post_form(self, url: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        """Posts a form; returns status and body of the response (RFC 6749 section 3.2)."""
        return await self._request("POST", url, form)

    async def close(self) -> None:
        await self._http.close()

    async def _request(self, method: str, url: str, form: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        try:
            answer = await self._http.request(method, url, data=form)
        except ResponseTooLong as caught:
            raise ValueError(f"{url} answered {caught}") from caught
        except OSError as caught:  # its text may quote the request
            problem = f"{url} failed: {connection_problem(caught)}"
        else:
            return answer.status, answer.body
        raise OSError(problem)
