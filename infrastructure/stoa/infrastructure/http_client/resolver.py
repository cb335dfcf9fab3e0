"""Resolves host names for every outbound connection: one look-up per name at a time, cached for its TTL.

Laws:

- A look-up ends after `timeout_seconds` at the latest, for those who wait for it and for those who come later.
- A cancelled caller ends only its own waiting; the look-up goes on, and the next caller of that name gets its outcome.
- Names that hang, however many, delay no other name: look-ups hold no thread, and when MAX_LOOKUPS are under way the
  oldest is given up for the next.
- An answer is used for its TTL, MAX_TTL_SECONDS at most; a failure for FAILURE_SECONDS.

Addresses come unchecked: OutboundRules are applied where the connection is made, to the address that it is made to.
"""

import asyncio
import ipaddress
from functools import lru_cache
from typing import NamedTuple, Protocol

from stoa.application.concurrency.bounded_cache import BoundedCache
from stoa.application.memory.clock import SystemClock
from stoa.application.ports.clock import Clock

TIMEOUT_SECONDS = 5.0
MAX_TTL_SECONDS = 300.0
FAILURE_SECONDS = 5.0
"""Seconds for which a failed look-up is cached; a service that was just created is found after them."""
MAX_LOOKUPS = 1000
MAX_NAMES = 10_000
"""Upper bound on cached outcomes; the oldest is evicted first."""


class Found(NamedTuple):
    addresses: tuple[str, ...]
    """Addresses as text, the preferred one first."""
    ttl_seconds: float


class LookUp(Protocol):
    """Looks up one name, in lower case and ASCII. Raises OSError if it has no address; may never return."""

    async def __call__(self, name: str) -> Found: ...

    async def close(self) -> None: ...


class NameNotResolved(OSError):
    """A host name has no address, or no answer came in time. The text names the host; it is for operators."""


class _Kept(NamedTuple):
    addresses: tuple[str, ...]
    problem: str
    until_ns: int


class HostResolver:
    """Resolves and caches host names on one event loop, from the first look-up to `close`. It owns its LookUp and
    closes it."""

    def __init__(
        self,
        look_up: LookUp,
        clock: Clock | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        max_lookups: int = MAX_LOOKUPS,
        max_names: int = MAX_NAMES,
    ) -> None:
        self._look_up = look_up
        self._clock = clock or SystemClock()
        self._timeout_seconds = timeout_seconds
        self._max_lookups = max_lookups
        self._outcomes: BoundedCache[str, _Kept] = BoundedCache(max_names)
        self._under_way: dict[str, asyncio.Task[_Kept]] = {}

    async def addresses(self, host: str) -> tuple[str, ...]:
        """The addresses of a host, at least one; a literal address is returned as it is. Raises NameNotResolved."""
        if _is_literal(host):
            return (host,)
        name = _canonical(host)
        outcome = self._outcomes.get(name)
        if outcome is None or outcome.until_ns <= self._clock.monotonic_ns():
            task = self._under_way.get(name) or self._begin(name)
            await asyncio.wait({task})  # unlike `await task`, leaves it alone when this caller is cancelled
            outcome = self._given_up() if task.cancelled() else task.result()
        if outcome.problem:
            raise NameNotResolved(f"{name} does not resolve: {outcome.problem}")
        return outcome.addresses

    async def close(self) -> None:
        """Ends every look-up; callers that wait get NameNotResolved."""
        tasks = [*self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._look_up.close()

    def _begin(self, name: str) -> asyncio.Task[_Kept]:
        if len(self._under_way) >= self._max_lookups:
            # The oldest is the likeliest to hang. Waiting for a free place would let hanging names delay others.
            oldest = next(iter(self._under_way))
            self._outcomes.put(oldest, self._given_up())
            self._under_way.pop(oldest).cancel()
        task = self._under_way[name] = asyncio.create_task(self._ask(name), name=f"look up {name}")
        return task

    async def _ask(self, name: str) -> _Kept:
        this = asyncio.current_task()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._look_up(name)
        except TimeoutError:
            outcome = self._failed(f"no answer within {self._timeout_seconds:g} s")
        except (OSError, ValueError) as caught:
            outcome = self._failed(str(caught) or type(caught).__name__)
        else:
            outcome = self._succeeded(answer)
        finally:
            # A look-up that was given up may have been followed by another of the same name, whose entry stays.
            if self._under_way.get(name) is this:
                del self._under_way[name]
        self._outcomes.put(name, outcome)
        return outcome

    def _succeeded(self, answer: Found) -> _Kept:
        if not answer.addresses:
            return self._failed("it has no addresses")
        return _Kept(answer.addresses, "", self._after(min(answer.ttl_seconds, MAX_TTL_SECONDS)))

    def _given_up(self) -> _Kept:
        return self._failed("its look-up was given up for those of others")

    def _failed(self, problem: str) -> _Kept:
        return _Kept((), problem, self._after(FAILURE_SECONDS))

    def _after(self, seconds: float) -> int:
        return self._clock.monotonic_ns() + int(seconds * 1e9)


@lru_cache(maxsize=1024)
def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _canonical(host: str) -> str:
    """The name in lower case and ASCII. Raises NameNotResolved for text that cannot be a host name (RFC 1035 section
    2.3.4)."""
    try:
        name = host.lower() if host.isascii() else host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        name = ""
    if not name or len(name) > 254 or any(character <= " " or character == "\x7f" for character in name):
        raise NameNotResolved("a host name has 1 to 253 letters, digits, hyphens and dots")
    return name
