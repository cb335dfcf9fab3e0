"""Time that a test moves: sleeping ends when the clock has come so far."""

import asyncio

from stoa.testing.clock import ManualClock


class Sleeper:
    """The sleep function of one part."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._waits: list[tuple[int, asyncio.Future[None]]] = []
        self.slept = 0
        """Sleeps that began."""

    async def __call__(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waits.append((self._clock.monotonic_ns() + int(seconds * 1e9), future))
        self.slept += 1
        await future

    def wake(self) -> int:
        """Wake those whose time has come; returns how many they are."""
        now = self._clock.monotonic_ns()
        due = [future for moment, future in self._waits if moment <= now and not future.done()]
        self._waits = [wait for wait in self._waits if wait[0] > now and not wait[1].done()]
        for future in due:
            future.set_result(None)
        return len(due)


class ManualTime:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self._sleepers: list[Sleeper] = []

    def sleeper(self) -> Sleeper:
        self._sleepers.append(Sleeper(self.clock))
        return self._sleepers[-1]

    async def advance(self, seconds: float) -> None:
        """Move on, wake those whose time has come, and wait until each of them sleeps again."""
        self.clock.advance(seconds)
        expected = [(sleeper, sleeper.slept + sleeper.wake()) for sleeper in self._sleepers]
        async with asyncio.timeout(20):
            for sleeper, slept in expected:
                while sleeper.slept < slept:
                    await asyncio.sleep(0)
