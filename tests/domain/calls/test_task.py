"""What a task may become, whatever happens to it in whatever order."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stoa.domain.access.identity import Principal
from stoa.domain.calls.task import MESSAGE_LIMIT, TERMINAL, GivenAnswers, Task, TaskError, TaskStatus, Work

ANN = Principal.of("ann", tenant="acme", roles=["viewer"])
START = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = st.sampled_from(["a", "b", "c"])

EVENTS = st.one_of(
    st.tuples(st.just("renewed"), st.just(30.0), st.none() | st.text(max_size=3)),
    st.tuples(st.just("requiring_input"), st.dictionaries(KEYS, st.just({"method": "roots/list"}), max_size=3)),
    st.tuples(st.just("answered"), st.dictionaries(KEYS, st.just({"roots": []}), max_size=3)),
    st.tuples(st.just("resumed"), st.just(30.0)),
    st.tuples(st.just("completed"), st.just({"content": []})),
    st.tuples(st.just("failed"), st.just(TaskError(-32603, "no"))),
    st.tuples(st.just("cancelled")),
)


def begun(**rest: Any) -> Task:
    return Task.begin(Work(tool="dig", arguments={"n": 1}), ANN, START, 30.0, **rest)


def happen(task: Task, event: tuple[Any, ...], now: datetime) -> Task:
    match event:
        case ("renewed", lease, message):
            return task.renewed(now, lease, message)
        case ("resumed", lease):
            return task.resumed(now, lease)
        case (name, *values):
            changed: Task = getattr(task, name)(*values, now)
            return changed
        case _:
            raise AssertionError(event)


@given(st.lists(st.tuples(EVENTS, st.integers(0, 40)), max_size=25))
def test_every_history_keeps_the_laws(history: list[tuple[tuple[Any, ...], int]]) -> None:
    task, now = begun(), START
    requested: set[str] = set()
    answered: set[str] = set()
    for event, seconds in history:
        now += timedelta(seconds=seconds)
        after = happen(task, event, now)
        assert after.version == task.version + (after is not task)
        assert after == task if after is task or task.is_over else after.version > task.version
        assert (after.id, after.owner, after.tenant, after.created_at) == (task.id, ANN.identity_key, "acme", START)
        assert task.updated_at <= after.updated_at <= now
        assert (after.result is not None) == (after.status is TaskStatus.COMPLETED)
        assert (after.error is not None) == (after.status is TaskStatus.FAILED)
        assert (after.work is None) == after.is_over
        assert (after.lease_until is not None) == (after.status is TaskStatus.WORKING)
        assert not after.is_over or not (after.client_requests or after.answers)
        assert not answered & after.client_requests.keys(), "a key that was answered is asked again"
        requested |= after.client_requests.keys()
        assert after.answers.keys() <= requested
        answered |= after.answers.keys()
        task = after


def test_task_answered_client_request_is_not_open_and_the_others_are() -> None:
    waiting = begun().requiring_input({"a": {"m": 1}, "b": {"m": 2}}, START)
    partly = waiting.answered({"a": 1, "z": 9}, START)
    assert (partly.status, dict(partly.client_requests), partly.answers) == (
        "input_required",
        {"b": {"m": 2}},
        {"a": 1},
    )
    assert partly.resumed(START, 30) is partly
    assert partly.answered({"a": 2}, START) is partly
    working = partly.answered({"b": 3}, START).resumed(START, 30)
    assert (working.status, working.answers) == ("working", {"a": 1, "b": 3})


def test_a_runner_that_is_not_heard_of_in_time_is_given_up() -> None:
    task = begun()
    late = START + timedelta(seconds=30)
    assert not task.is_abandoned(late - timedelta(microseconds=1))
    assert task.is_abandoned(late)
    assert not task.renewed(late, 30, None).is_abandoned(late)
    assert not task.requiring_input({"a": {}}, START).is_abandoned(late + timedelta(days=1)), (
        "nobody runs what waits for answers"
    )


def test_renewing_the_lease_is_no_change_that_its_owner_sees_but_a_message_is() -> None:
    later = START + timedelta(seconds=5)
    assert begun().renewed(later, 30, None).updated_at == START
    told = begun().renewed(later, 30, "x" * 2000)
    assert (told.updated_at, len(told.message or "")) == (later, MESSAGE_LIMIT)


def test_a_task_belongs_to_one_caller_with_its_view_on_one_tenant() -> None:
    task = begun()
    assert task.is_of(ANN)
    strangers = (None, ANN.model_copy(update={"tenant": "other"}), ANN.model_copy(update={"subject": "bob"}))
    assert not any(task.is_of(stranger) for stranger in strangers)


def test_ids_are_long_and_never_the_same() -> None:
    ids = {begun().id for _ in range(100)}
    assert len(ids) == 100
    assert all(len(one) == 43 and one.isascii() for one in ids), "256 bits, six to a character"


def test_a_task_begins_as_its_work_and_its_owner_say() -> None:
    work = Work(tool="dig", arguments={"n": 1})
    answers, fingerprints = {"a": 1}, {"a": "f"}
    task = Task.begin(work, ANN, START, 30.0, GivenAnswers(answers, fingerprints))
    assert (task.owner, task.tenant, task.tool, task.work) == (ANN.identity_key, "acme", "dig", work)
    assert (task.created_at, task.updated_at) == (START, START)
    assert (task.answers, task.client_requests) == ({"a": 1}, {})
    assert task.answers is not answers
    assert (task.fingerprints, task.fingerprints is fingerprints) == ({"a": "f"}, False)
    assert task.lease_until == START + timedelta(seconds=30)
    assert task.expires_at == START + timedelta(hours=1)
    assert begun().answers == {}


def test_the_words_for_how_a_task_stands_are_the_protocols() -> None:
    assert {status.name: status.value for status in TaskStatus} == {
        name: name.lower() for name in ("WORKING", "INPUT_REQUIRED", "COMPLETED", "FAILED", "CANCELLED")
    }
    assert {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED} == TERMINAL
    assert MESSAGE_LIMIT == 1000


def test_a_task_without_a_lease_is_not_abandoned_and_neither_is_one_that_is_over() -> None:
    late = START + timedelta(days=1)
    assert not replace(begun(), lease_until=None).is_abandoned(late)
    assert not replace(begun(), status=TaskStatus.FAILED).is_abandoned(late)


def test_a_renewed_task_has_a_lease_from_now_on_and_its_newest_message() -> None:
    later = START + timedelta(seconds=5)
    task = begun().renewed(later, 40, "half")
    assert (task.lease_until, task.message, task.updated_at) == (later + timedelta(seconds=40), "half", later)
    again = task.renewed(later + timedelta(seconds=1), 40, "half")
    assert (again.updated_at, again.message) == (later, "half")
    gone = again.renewed(later + timedelta(seconds=2), 40, None)
    assert (gone.message, gone.updated_at) == (None, later + timedelta(seconds=2))


def test_a_task_that_asks_waits_without_a_message_and_goes_on_with_a_new_lease() -> None:
    later = START + timedelta(seconds=5)
    waiting = begun(given=GivenAnswers({"b": 0}, {"b": "fb"})).renewed(START, 30, "half")
    waiting = waiting.requiring_input({"a": {"m": 1}, "b": {"m": 2}}, later, {"a": "fa", "b": "another", "c": "fc"})
    assert waiting.fingerprints == {"a": "fa", "b": "fb"}, "an answer keeps the fingerprint of its own request"
    assert (waiting.status, waiting.client_requests) == (TaskStatus.INPUT_REQUIRED, {"a": {"m": 1}})
    assert (waiting.message, waiting.lease_until, waiting.updated_at) == (None, None, later)
    answered = waiting.answered({"a": 5}, later + timedelta(seconds=1))
    assert (answered.answers, answered.client_requests) == ({"b": 0, "a": 5}, {})
    assert answered.updated_at == later + timedelta(seconds=1)
    on = answered.resumed(later + timedelta(seconds=2), 40)
    assert (on.status, on.updated_at) == (TaskStatus.WORKING, later + timedelta(seconds=2))
    assert on.lease_until == later + timedelta(seconds=42)
    assert (waiting.requiring_input({"c": {}}, later), begun().resumed(later, 1).version) == (waiting, 1)


def test_the_end_of_a_task_is_what_came_of_it() -> None:
    later = START + timedelta(seconds=5)
    running = begun(given=GivenAnswers({"a": 1}, {"a": "f"})).renewed(START, 30, "half")
    done, failed, gone = (
        running.completed({"content": [1]}, later),
        running.failed(TaskError(-1, "n" * 2000, {"x": 1}), later),
        running.cancelled(later),
    )
    assert (done.status, done.result, done.error, done.message) == (TaskStatus.COMPLETED, {"content": [1]}, None, None)
    assert (failed.status, failed.result, failed.message) == (TaskStatus.FAILED, None, "n" * MESSAGE_LIMIT)
    assert failed.error == TaskError(-1, "n" * 2000, {"x": 1})
    assert (gone.status, gone.result, gone.error, gone.message) == (TaskStatus.CANCELLED, None, None, None)
    for end in (done, failed, gone):
        assert end.is_over
        assert (end.work, end.client_requests, end.answers, end.lease_until, end.updated_at) == (
            None,
            {},
            {},
            None,
            later,
        )
        assert end.fingerprints == {}
        assert end.version == running.version + 1
    assert not running.is_over
