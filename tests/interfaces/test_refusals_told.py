"""Each refusal of each door is told once: one count of the metric and one line in the log, whatever refused it."""

import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from tests.interfaces.doors import Answer, World, envelope, modern, new_world

from stoa.application.ports.rate_limiter import RateLimiter
from stoa.domain import errors
from stoa.domain.access.caller_limits import StrangerLimits
from stoa.domain.access.identity import Principal
from stoa.domain.access.rate_limit import LimitCharge, LimitVerdict, RateLimit
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.policy.decision import Decision
from stoa.domain.policy.refusal import Refusal
from stoa.interfaces.wire.errors import wire_error

ADDRESS = "127.0.0.1"
CALL = {"name": "echo", "arguments": {"value": {}}}
LOGGER = "stoa.infrastructure.observability.refusal_log"
Ask = Callable[[World], Awaitable[Answer]]


class Case(NamedTuple):
    reason: RefusalReason
    door: str
    status: int
    ask: Ask
    client: str | None = None
    options: Mapping[str, Any] = MappingProxyType({})


def _legacy(method: str, params: Any = None, **rest: Any) -> Ask:
    return lambda world: world.legacy(method, params, **rest)


def _modern(method: str, params: Any = None, **rest: Any) -> Ask:
    return lambda world: world.modern(method, params, **rest)


def _rest(method: str, path: str, body: Any = None, **rest: Any) -> Ask:
    return lambda world: world.rest(method, path, body, **rest)


def _http(method: str, target: str, **rest: Any) -> Ask:
    return lambda world: world.request(method, target, **rest)


def _post(body: bytes, **headers: str) -> Ask:
    return lambda world: world.post(body, headers={name.replace("_", "-"): text for name, text in headers.items()})


async def _of_another_version(world: World) -> Answer:
    message, headers = modern("tools/list", {"_meta": envelope("2031-01-01")})
    return await world.post(message, headers=headers | {"mcp-protocol-version": "2031-01-01"})


R = RefusalReason
SESSIONS = {"has_sessions": True}
LARGE = b" " * (4 * 1024 * 1024 + 1)
CASES = {
    "host": Case(R.HOST, "http", 421, _http("GET", "/mcp/v1/tools", headers={"host": "evil.example"})),
    "origin": Case(R.ORIGIN, "http", 403, _http("GET", "/mcp/v1/tools", headers={"origin": "https://evil.example"})),
    "preflight": Case(R.ORIGIN, "http", 403, _http("OPTIONS", "/mcp", headers={"origin": "https://evil.example"})),
    "path": Case(R.PATH, "http", 404, _http("GET", "/nowhere")),
    "method": Case(R.METHOD, "http", 405, _http("PUT", "/mcp/v1/tools")),
    "mcp method": Case(R.METHOD, "mcp", 405, _http("PUT", "/mcp"), options=SESSIONS),
    "mcp without sessions": Case(R.METHOD, "mcp", 405, _http("GET", "/mcp")),
    "mcp media type": Case(R.MEDIA_TYPE, "mcp", 415, _post(b"{}", content_type="text/plain"), "cli-1"),
    "mcp accept": Case(R.NOT_ACCEPTABLE, "mcp", 406, _post(b"{}", accept="text/html"), "cli-1"),
    "mcp size": Case(R.TOO_LARGE, "mcp", 413, _post(LARGE), "cli-1"),
    "mcp query": Case(R.BAD_REQUEST, "mcp", 400, _legacy("ping", query="?profile=x"), "cli-1"),
    "rest size": Case(R.TOO_LARGE, "http", 413, _rest("POST", "/tools/echo/invoke", LARGE)),
    "no json": Case(R.BAD_MESSAGE, "mcp", 400, _post(b"{"), "cli-1"),
    "no message": Case(R.BAD_MESSAGE, "mcp", 400, _post(b"3"), "cli-1"),
    "unknown method": Case(R.UNKNOWN_METHOD, "mcp", 400, _legacy("tools/fry"), "cli-1"),
    "unknown stateless method": Case(R.UNKNOWN_METHOD, "mcp", 404, _modern("tools/fry"), "cli-1"),
    "wrong parameters": Case(R.INVALID_INPUT, "mcp", 400, _legacy("tools/call", {"name": 1}), "cli-1"),
    "version": Case(R.UNSUPPORTED_VERSION, "mcp", 400, lambda world: _of_another_version(world), "cli-1"),
    "header": Case(R.HEADER_MISMATCH, "mcp", 400, _modern("tools/list", headers={"mcp-method": "x"}), "cli-1"),
    "session": Case(R.UNKNOWN_SESSION, "mcp", 404, _legacy("ping", headers={"mcp-session-id": "x"}), "cli-1", SESSIONS),
    "stream of a session": Case(
        R.UNKNOWN_SESSION,
        "mcp",
        404,
        _http("GET", "/mcp", headers={"accept": "text/event-stream", "mcp-session-id": "x"}),
        "cli-1",
        SESSIONS,
    ),
    "stream of a version": Case(
        R.UNSUPPORTED_VERSION, "mcp", 400, _http("GET", "/mcp", headers={"mcp-protocol-version": "2031-01-01"})
    ),
    "no session": Case(R.BAD_MESSAGE, "mcp", 400, _http("DELETE", "/mcp"), "cli-1", SESSIONS),
    "mcp no token": Case(R.MISSING_TOKEN, "mcp", 401, _legacy("ping", token=None)),
    "rest no token": Case(R.MISSING_TOKEN, "rest", 401, _rest("GET", "/tools", token=None)),
    "call without token": Case(R.MISSING_TOKEN, "rest", 401, _rest("POST", "/tools/echo/invoke", {}, token=None)),
    "stream without token": Case(R.MISSING_TOKEN, "mcp", 401, _http("GET", "/mcp", token=None), options=SESSIONS),
    "mcp expired": Case(R.EXPIRED, "mcp", 401, _legacy("ping", token="old")),
    "rest expired": Case(R.EXPIRED, "rest", 401, _rest("GET", "/tools", token="old")),
    "mcp scope": Case(R.MISSING_SCOPE, "mcp", 403, _legacy("tools/call", {"name": "wipe"}, token="reading"), "cli-2"),
    "rest scope": Case(R.MISSING_SCOPE, "rest", 403, _rest("POST", "/tools/wipe/invoke", {}, token="reading"), "cli-2"),
    "mcp arguments": Case(
        R.INVALID_ARGUMENTS, "mcp", 400, _legacy("tools/call", {"name": "add", "arguments": {}}), "cli-1"
    ),
    "rest arguments": Case(R.INVALID_ARGUMENTS, "rest", 400, _rest("POST", "/tools/add/invoke", {}), "cli-1"),
    "mcp tool": Case(R.TOOL_NOT_FOUND, "mcp", 404, _legacy("tools/call", {"name": "nil"}), "cli-1"),
    "rest tool": Case(R.TOOL_NOT_FOUND, "rest", 404, _rest("GET", "/tools/nil"), "cli-1"),
    "mcp resource": Case(R.RESOURCE_NOT_FOUND, "mcp", 400, _legacy("resources/read", {"uri": "memo://n"}), "cli-1"),
    "mcp prompt": Case(R.PROMPT_NOT_FOUND, "mcp", 404, _legacy("prompts/get", {"name": "nil"}), "cli-1"),
    "rest prompt": Case(R.PROMPT_NOT_FOUND, "rest", 404, _rest("POST", "/prompts/nil", {}), "cli-1"),
    "rest query": Case(R.INVALID_INPUT, "rest", 400, _rest("GET", "/tools?limit=no"), "cli-1"),
    "task": Case(R.CLIENT_CANNOT, "mcp", 400, _modern("tasks/get", {"taskId": "nil"}), "cli-1"),
}
PRINCIPALS = {
    "alpha-admin": Principal.of("ann", tenant="alpha", roles=["tenant-admin"], client="cli-1"),
    "reading": Principal.of("ann", tenant="alpha", roles=["cpi-admin"], token_scopes=["stoa:read"], client="cli-2"),
    "old": Principal(subject="ann", issuer="i", roles=frozenset(), expires_at=datetime(2001, 1, 1, tzinfo=UTC)),
}


def _told(world: World, caplog: pytest.LogCaptureFixture) -> tuple[Refusal, dict[str, float], logging.LogRecord]:
    """The one refusal that was told, all counts above zero, and its line."""
    (refusal,) = world.refusals.seen
    lines = [record for record in caplog.records if record.name == LOGGER]
    (line,) = lines
    return refusal, counts(world), line


def counts(world: World) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in world.metrics.exposition().decode().splitlines():
        if line.startswith("stoa_refusals_total{") and not line.endswith(" 0.0"):
            found[line.partition('"')[2].partition('"')[0]] = float(line.rpartition(" ")[2])
    return found


def _as_logged(refusal: Refusal) -> dict[str, object]:
    return {
        "reason": refusal.reason.value,
        "door": refusal.door,
        "status": refusal.status,
        "client": refusal.client,
        "address": refusal.address,
    }


@pytest.mark.parametrize("name", list(CASES))
async def test_refusal_of_a_door_is_counted_once_and_logged_once(name: str, caplog: pytest.LogCaptureFixture) -> None:
    case = CASES[name]
    world = new_world(principals=PRINCIPALS, **case.options)
    answer = await case.ask(world)
    refusal, counted, line = _told(world, caplog)
    assert refusal == Refusal(case.reason, case.door, case.status, case.client, ADDRESS)  # type: ignore[arg-type]
    assert counted == {case.reason.value: 1.0}
    assert {name: vars(line)[name] for name in _as_logged(refusal)} == _as_logged(refusal)
    assert line.levelno == logging.WARNING
    assert answer.status in {case.status, 200, 404 if case.reason is R.RESOURCE_NOT_FOUND else case.status}


class Refusing(RateLimiter):
    """Refuses every request with one error."""

    def __init__(self, error: errors.StoaError) -> None:
        self._error = error

    def refusal(self, charges: Sequence[LimitCharge]) -> LimitVerdict | None:
        return None

    async def peek(self, charges: Sequence[LimitCharge]) -> tuple[int, ...]:
        return (1,) * len(charges)

    async def take(self, charges: Sequence[LimitCharge]) -> LimitVerdict:
        raise self._error


def _leaves(kind: type[errors.StoaError]) -> list[type[errors.StoaError]]:
    return [kind, *itertools.chain.from_iterable(map(_leaves, kind.__subclasses__()))]


KINDS = [kind for kind in dict.fromkeys(_leaves(errors.StoaError)) if kind.__module__ == errors.__name__]
DENIED = Decision(False, "no", ("r",))
ARGUMENTS: dict[type[errors.StoaError], tuple[Any, ...]] = {
    errors.InvalidArguments: ([errors.Violation("/a", "a number")],),
    errors.ClientCapabilityMissing: (["sampling"],),
    errors.NotPermitted: (DENIED,),
    errors.QuotaExceeded: ("caller", 1.0),
    errors.BudgetExhausted: ("acme", datetime(2027, 1, 1, tzinfo=UTC), 60.0),
    errors.ResourceUnreadable: (errors.BackendUnavailable("away"),),
}


def _error(kind: type[errors.StoaError]) -> errors.StoaError:
    given = ARGUMENTS.get(kind)
    if given is not None:
        return kind(*given)
    try:
        return kind("text")
    except TypeError:
        return kind()  # type: ignore[call-arg]


DOORS: dict[str, tuple[str, Ask]] = {
    "mcp call": ("mcp", _legacy("tools/call", CALL)),
    "mcp list": ("mcp", _legacy("tools/list")),
    "stateless call": ("mcp", _modern("tools/call", CALL)),
    "stateless list": ("mcp", _modern("tools/list")),
    "rest call": ("rest", _rest("POST", "/tools/echo/invoke", {"arguments": {"value": {}}})),
    "rest list": ("rest", _rest("GET", "/tools")),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("door", list(DOORS))
async def test_refusal_with_any_error_of_the_wire_table_is_counted_and_logged(
    kind: type[errors.StoaError], door: str, caplog: pytest.LogCaptureFixture
) -> None:
    error = _error(kind)
    world = new_world(principals=PRINCIPALS, limiter=Refusing(error))
    said, ask = DOORS[door]
    await ask(world)
    if isinstance(error, errors.BackendError) and door.endswith("call"):
        assert world.refusals.seen == []  # a call whose back end fails is a finished call, with a result that says so
        return
    refusal, counted, _ = _told(world, caplog)
    status = wire_error(error).http_status
    assert (refusal.reason, refusal.door, refusal.status) == (error.refusal_reason, said, status)
    assert refusal.address == ADDRESS
    assert counted == {error.refusal_reason.value: 1.0}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_refusal_reason_of_an_error_is_its_code_or_more_exact(kind: type[errors.StoaError]) -> None:
    error = _error(kind)
    assert error.refusal_reason == error.code or kind in {errors.NotAuthenticated, errors.NotPermitted}


async def test_refusal_of_a_batch_counts_each_member(caplog: pytest.LogCaptureFixture) -> None:
    world = new_world(principals=PRINCIPALS)
    batch = [{"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": {"name": "nil"}} for n in range(3)]
    answer = await world.post(batch, version="2025-03-26")
    assert len(answer.json()) == 3
    assert counts(world) == {"tool_not_found": 3.0}
    stranger = await world.post(batch, version="2025-03-26", token=None)
    assert stranger.status == 401
    assert counts(world) == {"tool_not_found": 3.0, "missing_token": 3.0}


async def test_refusal_of_strangers_by_their_limit_is_told() -> None:
    limit = RateLimit(requests_per_minute=1, burst=1)
    world = new_world(principals=PRINCIPALS, stranger_limits=StrangerLimits(limit, limit))
    for _ in range(2):
        await world.legacy("ping", token=None)
        await world.rest("GET", "/tools", token=None)
    assert counts(world) == {"missing_token": 1.0, "stranger_limit": 3.0}
    assert {(one.door, one.status) for one in world.refusals.seen if one.reason is R.STRANGER_LIMIT} == {
        ("mcp", 429),
        ("rest", 429),
    }


async def test_refusals_in_a_flood_leave_ten_lines_and_a_number(caplog: pytest.LogCaptureFixture) -> None:
    world = new_world(principals=PRINCIPALS)
    for _ in range(50):
        await world.legacy("ping", token="hunter2-not-a-token")
    await world.legacy("ping", token=None)
    lines = [record for record in caplog.records if record.name == LOGGER]
    assert len(lines) == 11  # another reason has lines of its own
    world.clock.advance(61)
    await world.legacy("ping", token="hunter2-not-a-token")
    *_, number, line = [record for record in caplog.records if record.name == LOGGER]
    assert vars(number)["suppressed"] == 40
    assert vars(line)["reason"] == "not_authenticated"
    assert counts(world) == {"not_authenticated": 51.0, "missing_token": 1.0}
    world.refusal_log.close()
    assert "hunter2" not in caplog.text
    assert "hunter2" not in world.metrics.exposition().decode()


async def test_refusals_are_not_told_of_answers_that_are_none() -> None:
    world = new_world(principals=PRINCIPALS, has_sessions=True)
    await world.legacy("tools/call", CALL)
    await world.modern("tools/list")
    await world.rest("GET", "/tools")
    await world.request("GET", "/ready", token="nonsense")
    await world.legacy("tools/call", {"name": "refuses"})
    assert world.refusals.seen == []
