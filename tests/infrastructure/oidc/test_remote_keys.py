"""When the provider's keys are fetched, kept, served although old, and no longer served."""

import asyncio
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from joserfc.jwk import ECKey

from stoa.domain.errors import IdentityUnavailable
from stoa.infrastructure.oidc import BackChannel
from stoa.infrastructure.oidc.remote_keys import (
    REFRESH_SECONDS,
    RETRY_SECONDS,
    STALE_SECONDS,
    WATCH_SECONDS,
    RemoteKeys,
)
from stoa.testing.clock import ManualClock

ISSUER = "http://127.0.0.1:1/realms/stoa"
KEYS = {kid: ECKey.generate_key("P-256").as_dict(private=False, kid=kid, use="sig") for kid in ("one", "two", "three")}


class Provider:
    """Publishes the keys named in `kids`; None: it does not answer."""

    def __init__(self) -> None:
        self.kids: tuple[str, ...] | None = ("one",)
        self.fetched = 0
        self.gate: asyncio.Event | None = None

    async def fetch(self, url: str) -> bytes:
        if self.gate is not None:
            await self.gate.wait()
        if self.kids is None:
            raise OSError("refused")
        if url.endswith("/.well-known/openid-configuration"):
            return json.dumps({"issuer": ISSUER, "jwks_uri": f"{ISSUER}/certs"}).encode()
        assert url == f"{ISSUER}/certs"
        self.fetched += 1
        encryption = ECKey.generate_key("P-256").as_dict(private=False, kid="enc", use="enc")
        return json.dumps({"keys": [encryption, *(KEYS[kid] for kid in self.kids)]}).encode()


class Arranged:
    def __init__(self) -> None:
        self.provider, self.clock = Provider(), ManualClock()
        self.keys = RemoteKeys(ISSUER, self.provider.fetch, self.clock)

    async def knows(self, kid: str) -> bool:
        return await self.keys.key_for(kid, "ES256") is not None


async def test_keys_are_fetched_once_and_only_those_for_signatures_count():
    at = Arranged()
    assert await at.knows("one")
    assert await at.knows("one")
    assert at.provider.fetched == 1
    at.clock.advance(RETRY_SECONDS)
    assert not await at.knows("enc")


async def test_an_unknown_key_is_looked_for_at_most_once_in_a_while():
    at = Arranged()
    assert not await at.knows("two")
    at.provider.kids = ("one", "two")
    assert not await at.knows("two")
    at.clock.advance(RETRY_SECONDS)
    assert await at.knows("two")
    assert at.provider.fetched == 2


async def test_many_who_ask_at_once_cause_one_fetch():
    at = Arranged()
    at.provider.gate = asyncio.Event()
    asking = [asyncio.create_task(at.knows("one")) for _ in range(20)]
    await asyncio.sleep(0)
    asking[0].cancel()
    at.provider.gate.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert answers[1:] == [True] * 19
    assert at.provider.fetched == 1


async def test_who_comes_while_keys_are_fetched_waits_for_them():
    at = Arranged()
    at.provider.gate = asyncio.Event()
    first = asyncio.create_task(at.knows("one"))
    for _ in range(5):
        await asyncio.sleep(0)  # the fetch is under way
    late = asyncio.create_task(at.knows("one"))
    await asyncio.sleep(0)
    at.provider.gate.set()
    assert await asyncio.gather(first, late) == [True, True]
    assert at.provider.fetched == 1


async def test_a_provider_that_is_away_at_the_start_is_found_when_it_is_back():
    at = Arranged()
    at.provider.kids = None
    with pytest.raises(IdentityUnavailable):
        await at.knows("one")
    assert at.keys.problem
    at.provider.kids = ("one",)
    with pytest.raises(IdentityUnavailable):
        await at.knows("one")  # not asked again yet
    at.clock.advance(RETRY_SECONDS)
    assert await at.knows("one")
    assert at.keys.problem is None


@pytest.mark.parametrize(
    "metadata",
    [b"", b"[]", b"{}", b'{"issuer": "https://evil.example"}', json.dumps({"issuer": ISSUER}).encode(), b"\xff"],
)
async def test_metadata_of_another_issuer_or_of_none_yields_no_keys(metadata):
    async def fetch(_: str) -> bytes:
        return metadata

    keys = RemoteKeys(ISSUER, fetch, ManualClock())
    with pytest.raises(IdentityUnavailable):
        await keys.key_for("one", "ES256")


@given(st.binary(max_size=60) | st.just(b'{"keys": 7}') | st.just(b'{"keys": [7, {"kty": "EC"}]}'))
async def test_whatever_the_key_set_holds_nothing_but_a_refusal_comes_of_it(junk):
    async def fetch(url: str) -> bytes:
        return (
            junk if url.endswith("/certs") else json.dumps({"issuer": ISSUER, "jwks_uri": f"{ISSUER}/certs"}).encode()
        )

    keys = RemoteKeys(ISSUER, fetch, ManualClock())
    with suppress(IdentityUnavailable):
        assert await keys.key_for("one", "ES256") is None


class RotatingKeys(RuleBasedStateMachine):
    """A withdrawn key is refused within the stated bound; a published one is found within RETRY_SECONDS."""

    def __init__(self) -> None:
        super().__init__()
        self.at = Arranged()
        self.published: tuple[str, ...] = ("one",)
        self.last_seen_ns = dict.fromkeys(KEYS, -(10**18))
        self.reachable_ns = 0

    def now(self) -> int:
        return self.at.clock.monotonic_ns()

    @rule(seconds=st.sampled_from([0.0, 1.0, RETRY_SECONDS, REFRESH_SECONDS + 1, STALE_SECONDS + 1]))
    def time_passes(self, seconds):
        self.at.clock.advance(seconds)

    @rule(kids=st.lists(st.sampled_from(sorted(KEYS)), unique=True).map(tuple))
    def keys_rotate(self, kids):
        self.published = kids
        if self.at.provider.kids is not None:
            self.at.provider.kids = kids

    @rule(is_up=st.booleans())
    def provider_comes_and_goes(self, is_up):
        self.at.provider.kids = self.published if is_up else None

    @invariant()
    def published_keys_are_noted(self):
        if self.at.provider.kids is not None:
            for kid in self.at.provider.kids:
                self.last_seen_ns[kid] = self.now()

    @rule(kid=st.sampled_from(sorted(KEYS)))
    def a_token_comes(self, kid):
        before = self.at.provider.fetched
        try:
            is_known = asyncio.run(self.at.knows(kid))
        except IdentityUnavailable:
            assert self.at.provider.kids is None or before == self.at.provider.fetched
            return
        gone_for = (self.now() - self.last_seen_ns[kid]) / 1e9
        if is_known:
            bound = REFRESH_SECONDS if self.at.provider.kids is not None else STALE_SECONDS
            assert gone_for <= bound + RETRY_SECONDS
        elif self.at.provider.kids is not None and kid in self.at.provider.kids:
            assert before == self.at.provider.fetched  # asked moments ago


TestRotatingKeys = RotatingKeys.TestCase


class Watch:
    """Runs `watch` one pause at a time; each pause moves the clock."""

    def __init__(self, at: Arranged) -> None:
        self.at = at
        self.pauses: list[float] = []
        self._turn, self._done = asyncio.Semaphore(0), asyncio.Semaphore(0)
        self.task = asyncio.create_task(at.keys.watch(self._sleep))

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._done.release()
        await self._turn.acquire()
        self.at.clock.advance(seconds)

    async def step(self) -> None:
        await asyncio.wait_for(self._done.acquire(), 5)
        self._turn.release()


async def test_keys_are_refreshed_without_traffic_so_that_an_idle_gateway_stays_ready():
    at = Arranged()
    watch = Watch(at)
    for _ in range(round(2 * STALE_SECONDS / WATCH_SECONDS)):
        await watch.step()
        assert at.keys.is_current
    watch.task.cancel()
    assert at.clock.monotonic_ns() / 1e9 > STALE_SECONDS
    assert WATCH_SECONDS < REFRESH_SECONDS


async def test_keys_of_a_provider_that_comes_late_are_found_without_traffic():
    at = Arranged()
    at.provider.kids = None
    watch = Watch(at)
    await watch.step()
    assert not at.keys.is_current
    assert at.keys.problem == "refused"
    at.provider.kids = ("one",)
    await watch.step()
    await watch.step()
    assert at.keys.is_current
    assert at.keys.problem is None
    assert watch.pauses[:2] == [RETRY_SECONDS, WATCH_SECONDS]
    watch.task.cancel()


async def test_keys_survive_a_defect_while_they_are_fetched(caplog: pytest.LogCaptureFixture):
    at = Arranged()
    assert await at.knows("one")
    working = at.provider.fetch

    async def broken(url: str) -> bytes:
        raise LookupError(url)

    keys = RemoteKeys(ISSUER, lambda url: broken(url) if at.provider.fetched == 1 else working(url), at.clock)
    await keys.refresh()
    assert not keys.is_current
    assert "unexpected LookupError" in str(keys.problem)
    assert "Traceback" in caplog.text
    at.provider.fetched = 2
    await keys.refresh()
    assert keys.is_current


PUBLIC = "https://auth.example.org"
INSIDE = "http://keycloak.internal:8080"


class Inside:
    """Keycloak as a gateway beside it reaches it; what it says of itself is `metadata`."""

    def __init__(self, **metadata: str) -> None:
        self.metadata = {"issuer": f"{PUBLIC}/realms/stoa", "jwks_uri": f"{PUBLIC}/realms/stoa/certs"} | metadata
        self.asked: list[str] = []
        channel = BackChannel(f"{PUBLIC}/", f"{INSIDE}/")
        self.keys = RemoteKeys(f"{PUBLIC}/realms/stoa", self._fetch, ManualClock(), back_channel=channel)

    async def _fetch(self, url: str) -> bytes:
        self.asked.append(url)
        return json.dumps(self.metadata if url.endswith("configuration") else {"keys": [KEYS["one"]]}).encode()


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"jwks_uri": f"{INSIDE}/realms/stoa/certs"},
        {"issuer": f"{INSIDE}/realms/stoa", "jwks_uri": f"{INSIDE}/realms/stoa/certs"},
    ],
    ids=["fixed host name", "dynamic back channel", "host name as asked"],
)
async def test_back_channel_is_used_for_everything_that_is_fetched(metadata):
    at = Inside(**metadata, introspection_endpoint=f"{PUBLIC}/realms/stoa/introspect")
    assert await at.keys.key_for("one", "ES256") is not None
    assert at.asked == [f"{INSIDE}/realms/stoa/.well-known/openid-configuration", f"{INSIDE}/realms/stoa/certs"]
    assert at.keys.introspection_endpoint == f"{INSIDE}/realms/stoa/introspect"


async def test_back_channel_leaves_keys_that_are_kept_elsewhere_where_they_are():
    at = Inside(jwks_uri="https://auth.example.organisation/certs")
    await at.keys.refresh()
    assert at.asked[-1] == "https://auth.example.organisation/certs"


async def test_back_channel_does_not_make_another_issuer_this_one():
    at = Inside(issuer=f"{PUBLIC}/realms/other")
    await at.keys.refresh()
    assert "another issuer" in at.keys.problem
    assert "realms/other" in at.keys.problem


async def test_issuer_that_ends_with_a_slash_is_found_without_a_second_one():
    asked = []

    async def fetch(url):
        asked.append(url)
        return json.dumps({"issuer": "https://acme.auth0.example/", "jwks_uri": "https://keys.example/", "keys": []})

    keys = RemoteKeys("https://acme.auth0.example/", fetch, ManualClock())
    await keys.refresh()
    assert (keys.problem, asked[0]) == (None, "https://acme.auth0.example/.well-known/openid-configuration")
    other = RemoteKeys("https://acme.auth0.example", fetch, ManualClock())
    await other.refresh()
    assert "'https://acme.auth0.example/'; set" in other.problem


async def test_introspection_that_the_provider_does_not_offer_is_a_problem():
    provider = Provider()
    keys = RemoteKeys(ISSUER, provider.fetch, ManualClock(), introspects=True)
    await keys.refresh()
    assert "TOKEN_INTROSPECTION=false" in keys.problem
