"""The keys that an OpenID provider publishes: found by discovery, cached, fetched again when they may have changed
(OpenID Connect Discovery 1.0 section 4; RFC 7517).

    age of the keys   up to REFRESH_SECONDS   up to STALE_SECONDS                  older
    known key         served                  fetched again; served if that fails  fetched again, or refused
    unknown key       fetched again, at most once in RETRY_SECONDS

`watch` fetches them in the background, so that health follows the provider even while no token arrives.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pydantic_core

from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.ports.clock import Clock
from stoa.domain.errors import IdentityUnavailable
from stoa.domain.schema.json_value import JsonObject, is_object
from stoa.infrastructure.oidc.back_channel import BackChannel
from stoa.infrastructure.oidc.keys import KeyProvider, StaticKeys, VerificationKey

REFRESH_SECONDS = 60.0
STALE_SECONDS = 600.0
RETRY_SECONDS = 5.0
WATCH_SECONDS = 45.0
"""Below REFRESH_SECONDS: while the provider answers, no call has to wait for keys."""

Fetch = Callable[[str], Awaitable[bytes]]
"""Returns the body of a GET. Raises OSError, TimeoutError or ValueError."""
Sleep = Callable[[float], Awaitable[None]]


class RemoteKeys(KeyProvider):
    """Keys of the provider whose issuer identifier is `issuer`, fetched over `back_channel` if there is one. All
    callers that wait share one fetch. `introspects`: a provider that publishes no introspection endpoint is a
    problem."""

    def __init__(
        self,
        issuer: str,
        fetch: Fetch,
        clock: Clock,
        *,
        back_channel: BackChannel | None = None,
        introspects: bool = False,
        report: ReportDefect = log_defect,
    ) -> None:
        self._report = report
        self._issuer = issuer
        self._inward = str if back_channel is None else back_channel.of
        self._introspects = introspects
        self._fetch = fetch
        self._clock = clock
        self._keys: StaticKeys | None = None
        self._fetched_ns = 0
        self._tried_ns: int | None = None
        self._fetching: asyncio.Task[None] | None = None
        self.problem: str | None = "no keys were fetched yet"
        """The reason why the last fetch failed; None if it succeeded."""
        self.introspection_endpoint: str | None = None
        """The introspection endpoint in the provider's latest metadata, as reached from this process."""

    async def key_for(self, kid: str, alg: str) -> VerificationKey | None:
        if self._age_seconds() <= REFRESH_SECONDS:
            key = await self._cached_key(kid, alg)
            if key is not None:
                return key
        if self._fetching is not None or self._may_fetch():
            await self.refresh()
        if self._age_seconds() > STALE_SECONDS:
            raise IdentityUnavailable("Tokens cannot be verified at the moment: the identity provider does not answer")
        return await self._cached_key(kid, alg)

    async def refresh(self) -> None:
        """Fetches the keys, or waits for the fetch in progress; `problem` shows the result."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._refresh())
            self._fetching.add_done_callback(self._done)
        await asyncio.shield(self._fetching)  # a cancelled caller must not end the fetch for the others

    async def watch(self, sleep: Sleep = asyncio.sleep) -> None:
        """Keeps the keys current until cancelled: fetches them every WATCH_SECONDS, and every RETRY_SECONDS after a
        failure."""
        while True:
            await self.refresh()
            await sleep(WATCH_SECONDS if self.problem is None else RETRY_SECONDS)

    @property
    def is_current(self) -> bool:
        """True if tokens can be verified without another fetch."""
        return self._age_seconds() <= STALE_SECONDS

    def _done(self, _: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _cached_key(self, kid: str, alg: str) -> VerificationKey | None:
        return None if self._keys is None else await self._keys.key_for(kid, alg)

    def _age_seconds(self) -> float:
        return float("inf") if self._keys is None else (self._clock.monotonic_ns() - self._fetched_ns) / 1e9

    def _may_fetch(self) -> bool:
        return self._tried_ns is None or (self._clock.monotonic_ns() - self._tried_ns) / 1e9 >= RETRY_SECONDS

    async def _refresh(self) -> None:
        self._tried_ns = self._clock.monotonic_ns()
        try:
            metadata = await self._metadata()
            key_set = await self._fetch(self._inward(str(metadata["jwks_uri"])))
            keys = StaticKeys(_object(key_set, "the key set"))
        except (OSError, TimeoutError, ValueError) as caught:
            self.problem = str(caught) or f"{type(caught).__name__} at {self._issuer}"
            return
        except Exception as defect:  # noqa: BLE001  # callers wait for this task; a defect is one more failed fetch
            self._report("token keys", defect)
            self.problem = f"unexpected {type(defect).__name__} at {self._issuer}; the log has the reason"
            return
        self._keys, self._fetched_ns, self.problem = keys, self._tried_ns, None
        endpoint = metadata.get("introspection_endpoint")
        self.introspection_endpoint = self._inward(endpoint) if isinstance(endpoint, str) else None

    async def _metadata(self) -> JsonObject:
        """Fetches the provider's metadata. Raises ValueError if it names another issuer, whose keys must not verify
        this issuer's tokens."""
        own = self._inward(self._issuer)
        url = f"{own.rstrip('/')}/.well-known/openid-configuration"
        metadata = _object(await self._fetch(url), "the metadata")
        called = metadata.get("issuer")
        # Without a fixed host name Keycloak calls itself as it is asked; which names are its own the operator says.
        if called not in (self._issuer, own):
            raise ValueError(
                f"{url} is the metadata of another issuer, {str(called)[:200]!r}; set KEYCLOAK_URL and KEYCLOAK_REALM, "
                "or OIDC_ISSUER, as the provider calls itself, character for character"
            )
        if not str(metadata.get("jwks_uri", "")).startswith(("https://", "http://")):
            raise ValueError(f"{url} has no jwks_uri")
        if self._introspects and not isinstance(metadata.get("introspection_endpoint"), str):
            raise ValueError(f"{url} has no introspection_endpoint; set TOKEN_INTROSPECTION=false")
        return metadata


def _object(text: bytes, what: str) -> JsonObject:
    value: Any = pydantic_core.from_json(text)
    if not is_object(value):
        raise ValueError(f"{what} of the identity provider is not a JSON object")
    return value
