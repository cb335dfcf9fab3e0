"""The recorder's events say what is true of their own call, whichever calls came before."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from stoa.application.memory.metering import InMemoryMeteringSink
from stoa.application.metering.recorder import Recorder
from stoa.domain.access.identity import Principal
from stoa.domain.calls.invocation import Invocation
from stoa.domain.errors import StoaError
from stoa.domain.metering.event import MeteringEvent, Status
from stoa.domain.metering.money import MicroUnits
from stoa.domain.operations.tool import RestBinding, Tool
from stoa.domain.policy.decision import Decision
from stoa.testing.clock import ManualClock

WHEN = datetime(2026, 11, 30, tzinfo=UTC)


def tool(name: str) -> Tool:
    return Tool.model_validate(
        {
            "name": name,
            "tenant": "acme",
            "input_schema": {"type": "object"},
            "binding": RestBinding(method="GET", base_url="http://127.0.0.1:9", path="/"),
        }
    )


TOOLS = [tool("a"), tool("b")]
calls = st.fixed_dictionaries(
    {
        "principal": st.sampled_from(
            [
                Principal.of(subject, tenant=tenant, client=client)
                for subject in ("ann", "bob")
                for tenant in ("acme", "other", None)
                for client in (None, "cli")
            ]
        ),
        "operation": st.sampled_from([*TOOLS, None]),
        "decision": st.sampled_from(
            [Decision(True, "", ("x",)), Decision(False, "", ("x",)), Decision(True, ""), None]
        ),
        "error": st.sampled_from([None, None, StoaError("Internal error")]),
        "status": st.sampled_from([Status.SUCCESS, Status.ERROR]),
        "client_request": st.sampled_from(["", "sampling"]),
        "metadata": st.sampled_from([{}, {"coerced": "/a"}]),
        "door": st.sampled_from(["mcp", "rest"]),
        "consumer": st.sampled_from(["unknown", "crm", "é" * 200, "\ud800"]),
    }
)


def recorder() -> Recorder:
    clock = ManualClock()
    return Recorder(InMemoryMeteringSink(), [], clock)


def event_of(recorder: Recorder, facts: dict[str, object], number: int) -> MeteringEvent:
    rest = {name: value for name, value in facts.items() if name not in {"door", "consumer"}}
    invocation = Invocation(
        credential=None,
        name="a",
        arguments={},
        door=facts["door"],
        consumer=facts["consumer"],  # type: ignore[arg-type]
    )
    return recorder.event(
        invocation,
        event_id=f"e-{number}",
        request_id="r\ud800",
        timestamp=WHEN,
        latency_ms=number,
        cost=MicroUnits(number),
        **rest,  # type: ignore[arg-type]
    )


@given(st.lists(calls, min_size=1, max_size=6))
def test_recorder_makes_the_event_that_a_new_recorder_would_make(many: list[dict[str, object]]) -> None:
    used = recorder()
    for number, facts in enumerate(many + many):
        assert event_of(used, facts, number) == event_of(recorder(), facts, number)


def test_recorder_makes_events_of_one_kind_for_calls_that_differ_in_time_and_cost_alone() -> None:
    used = recorder()
    facts: dict[str, object] = {
        "principal": Principal.of("ann", tenant="acme"),
        "operation": TOOLS[0],
        "decision": Decision(True, "", ("x",)),
        "error": None,
        "status": Status.SUCCESS,
        "door": "mcp",
        "consumer": "crm",
    }
    first, second, third = (event_of(used, facts, number) for number in range(3))
    assert first.kind is None
    assert second.kind is third.kind is not None
