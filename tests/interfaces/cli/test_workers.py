"""Workers of `stoa serve --workers`: who is left alone, who is replaced, and when it is given up."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from uvicorn.config import STARTUP_FAILURE

from stoa.interfaces.cli.workers import HANG_SECONDS, Worker, Workers


class Fake(Worker):
    """A process that does what the test says."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.code: int | None = None
        self.says: bool | None = None
        self.is_stubborn = False
        self.told: list[str] = []

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def exit_code(self) -> int | None:
        return self.code

    @property
    def handles(self) -> Sequence[Any]:
        return ()

    def heard(self) -> bool | None:
        said, self.says = self.says, None
        return said

    def terminate(self) -> None:
        self.told.append("terminate")
        if not self.is_stubborn:
            self.code = 0

    def kill(self) -> None:
        self.told.append("kill")
        self.code = -9

    def join(self, timeout_seconds: float) -> None:
        self.told.append("join")


class Crew:
    """The supervisor and all workers that it ever started."""

    def __init__(self, count: int = 2) -> None:
        self.all: list[Fake] = []
        self.workers = Workers(count, self._start, now=0.0)

    def _start(self) -> Fake:
        self.all.append(Fake(len(self.all) + 1))
        return self.all[-1]

    def serve(self, now: float) -> None:
        """Whoever lives has started by now."""
        for worker in self.all:
            if worker.code is None:
                worker.says = True
        self.workers.tick(now)

    @property
    def living(self) -> list[int | None]:
        return [worker.pid for worker in self.workers.living]


def test_workers_that_start_are_left_alone_however_long_it_takes() -> None:
    crew = Crew()
    for now in range(0, 10_000, 7):
        crew.all[0].says = False
        crew.workers.tick(float(now))
    assert [worker.told for worker in crew.all] == [[], []]


def test_a_worker_that_was_killed_is_replaced_at_the_next_tick() -> None:
    crew = Crew()
    crew.serve(1.0)
    crew.all[1].code = -9
    crew.workers.tick(1.25)
    assert crew.living == [1, 3]
    crew.all[2].code = -9  # also one that had not started yet, the first time within a second
    crew.workers.tick(1.5)
    crew.workers.tick(2.5)
    assert crew.living == [1, 4]


def test_a_worker_that_served_and_is_not_heard_of_is_killed_and_replaced() -> None:
    crew = Crew()
    crew.serve(0.0)
    crew.all[0].says = True
    crew.workers.tick(HANG_SECONDS)
    crew.all[0].says = True
    crew.workers.tick(HANG_SECONDS + 1)
    assert crew.all[1].told == ["kill"]
    crew.workers.tick(HANG_SECONDS + 2)
    assert crew.living == [1, 3]
    assert crew.all[0].told == []


def test_the_first_worker_that_cannot_start_ends_them_all() -> None:
    crew = Crew()
    crew.all[0].code = STARTUP_FAILURE
    crew.workers.tick(1.0)
    assert crew.workers.has_failed
    crew.workers.end()
    assert crew.all[1].told == ["terminate", "join"]
    assert len(crew.all) == 2


def test_a_later_worker_that_cannot_start_is_tried_again_with_growing_pauses_while_the_others_serve() -> None:
    crew = Crew()
    crew.serve(0.0)
    crew.all[1].code = -9
    starts: list[float] = []
    for tick in range(4 * 200):
        now, known = tick / 4, len(crew.all)
        crew.all[0].says = True
        crew.workers.tick(now)
        if len(crew.all) > known:
            starts.append(now)
            crew.all[-1].code = STARTUP_FAILURE
    assert not crew.workers.has_failed
    assert crew.all[0].told == []
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert [round(pause) for pause in pauses[:6]] == [1, 2, 4, 8, 16, 30]
    assert max(pauses) < 31
    last = crew.all[-1]
    last.code, last.says = None, True
    crew.workers.tick(1000.0)


def test_workers_are_exchanged_one_after_the_other_and_each_goes_when_its_successor_serves() -> None:
    crew = Crew()
    crew.serve(0.0)
    crew.workers.replace_all()
    crew.workers.tick(1.0)
    assert crew.living == [1, 2, 3]
    crew.all[2].says = True
    crew.workers.tick(2.0)
    assert crew.all[0].told == ["terminate"]
    assert crew.living == [3, 2]
    crew.workers.tick(2.25)
    assert crew.living == [3, 2, 4]
    crew.all[3].says = True
    crew.workers.tick(3.0)
    assert crew.living == [3, 4]


def test_workers_that_were_exchanged_may_finish_what_they_do_and_are_waited_for_at_the_end() -> None:
    crew = Crew(1)
    crew.serve(0.0)
    crew.all[0].is_stubborn = True
    crew.workers.replace_all()
    crew.workers.tick(1.0)
    crew.serve(2.0)
    assert crew.living == [2, 1]
    crew.workers.end(grace_seconds=0.0)
    assert crew.all[0].told[-2:] == ["kill", "join"]
    assert crew.living == []


def test_workers_whose_successor_cannot_start_stay() -> None:
    crew = Crew()
    crew.serve(0.0)
    crew.workers.replace_all()
    crew.workers.tick(1.0)
    crew.all[2].code = STARTUP_FAILURE
    crew.workers.tick(2.0)
    crew.workers.tick(3.0)
    assert crew.living == [1, 2]
    assert not crew.workers.has_failed
    assert len(crew.all) == 3


def test_workers_that_are_told_to_end_and_do_not_are_killed() -> None:
    crew = Crew()
    crew.serve(0.0)
    crew.all[1].is_stubborn = True
    crew.workers.end(grace_seconds=0.0)
    assert crew.all[0].told == ["terminate", "join"]
    assert crew.all[1].told == ["terminate", "join", "kill", "join"]
    assert crew.living == []


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(["die", "hang", "fail", "exchange", "serve"]), st.integers(0, 9))),
)
def test_workers_are_as_many_as_were_asked_for_whatever_happened(count: int, events: list[tuple[str, int]]) -> None:
    crew, now = Crew(count), 0.0
    crew.serve(now)
    for event, which in events:
        now += 1.0
        living = [worker for worker in crew.all if worker.code is None]
        if event == "exchange":
            crew.workers.replace_all()
        elif event == "serve":
            crew.serve(now)
        elif event == "hang":
            now += HANG_SECONDS + 1
        elif living:
            living[which % len(living)].code = -9 if event == "die" else STARTUP_FAILURE
        crew.workers.tick(now)
        assert len(crew.living) <= count + 1
        assert not crew.workers.has_failed
    for _ in range(2 * count + 2):
        now += 31.0 / (HANG_SECONDS + 2)
        crew.serve(now)
        now += 29.0
        crew.serve(now)
        now += 29.0
        crew.serve(now)
    assert len(crew.living) == count
    assert sum(worker.code is None for worker in crew.all) == count
