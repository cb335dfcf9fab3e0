"""`stoa usage` as a picture, and `stoa usage reconcile`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from tests.interfaces.cli.usage_data import audit_line, events, write_outbox

from stoa.domain.schema.plain_text import plain
from stoa.interfaces.cli.app import run

Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def stoa(capfd: pytest.CaptureFixture[str]) -> Shell:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = run(list(map(str, arguments)))
        shown = capfd.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.fixture
def used(data_dir: Path) -> Path:
    write_outbox(data_dir, events())
    return data_dir


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


@pytest.mark.usefixtures("used")
def test_the_table_tells_the_share_of_the_whole(stoa: Shell) -> None:
    code, out, _ = stoa("usage", "--by", "tenant")
    assert code == 0
    assert lines(out)[4].split("│")[1].strip() == "acme"
    assert "76.2 %" in lines(out)[4]
    assert "0.088" in lines(out)[-2]


@pytest.mark.usefixtures("used")
def test_a_chart_has_a_bar_for_each_group_the_longest_first(stoa: Shell) -> None:
    code, out, err = stoa("usage", "--format", "chart", "--by", "tool")
    assert (code, err) == (0, "")
    assert lines(out) == [
        "Calls by tool",
        " pets.list  ████████████████████████████████████████  60  75.0 %",
        " pets.get   █████████████▎                            20  25.0 %",
    ]


@pytest.mark.usefixtures("used")
def test_a_chart_of_costs_shows_costs(stoa: Shell) -> None:
    out = stoa("usage", "--format", "chart", "--by", "tenant", "--measure", "cost")[1]
    assert lines(out) == [
        "Cost units by tenant",
        " acme    ████████████████████████████████████████  0.0671  76.2 %",
        " globex  ████████████▍                             0.0209  23.8 %",
    ]


@pytest.mark.usefixtures("used")
def test_a_chart_over_days_has_a_column_for_each_also_where_nothing_was_called(stoa: Shell) -> None:
    out = stoa("usage", "--format", "chart", "--by", "day")[1]
    assert lines(out) == [
        "Calls by day",
        "40 ┤ █ ▇",
        "   ┤ █ █",
        "   ┤ █ █",
        "   ┤ █ █",
        "   ┤ █ █",
        "   ┤ █ █",
        "   ┤ █ █",
        " 0 ┤ █ █   ▂",
        "   └────────",
        "     2026-03-01 2026-03-04",
    ]


@pytest.mark.usefixtures("used")
def test_a_chart_over_days_and_groups_has_a_line_for_each_group(stoa: Shell) -> None:
    out = stoa("usage", "--format", "chart", "--by", "tenant,day")[1]
    assert lines(out) == [
        "Calls by tenant, day",
        " tenant  2026-03-01 2026-03-04  total",
        " acme    █▄ ▁                      61  76.2 %",
        " globex   ▄                        19  23.8 %",
    ]


def test_of_very_many_days_the_last_are_shown(stoa: Shell, data_dir: Path) -> None:
    first, *rest = events()
    write_outbox(data_dir, [first.model_copy(update={"timestamp": first.timestamp.replace(year=2025)}), *rest])
    out = stoa("usage", "--format", "chart", "--by", "day")[1]
    assert "the last 50 days" in out
    assert max(map(len, lines(out))) <= 120


def test_a_chart_of_nothing_says_so(stoa: Shell) -> None:
    assert stoa("usage", "--format", "chart")[:2] == (0, "No usage.\n")


# --- reconcile


@pytest.mark.usefixtures("used")
def test_without_gaps_the_exit_code_is_0(stoa: Shell, used: Path) -> None:
    (used / "audit.jsonl").write_text('{"level": "info"}\n' + "".join(map(audit_line, events())) + "not json\n")
    code, out, err = stoa("usage", "reconcile", "--format", "json")
    found = json.loads(out)
    assert (code, err, found["hasGaps"]) == (0, "", False)
    assert found["answered"] == {
        "events": 80, "distinct": 80, "calls": 80, "duplicates": 0, "unreadable": 1, "costUnits": None,
    }  # fmt: skip
    assert found["outbox"]["costUnits"] == 0.088
    assert found["topic"] is None


def test_an_answered_call_without_an_event_is_a_gap(stoa: Shell, data_dir: Path, tmp_path: Path) -> None:
    lost, *kept = events()
    write_outbox(data_dir, kept)
    logs = [tmp_path / "a.log", tmp_path / "b.log"]
    logs[0].write_text(audit_line(lost) + audit_line(kept[0]))
    logs[1].write_text(audit_line(kept[0]))
    code, out, _ = stoa("usage", "reconcile", "--audit", logs[0], "--audit", logs[1], "--format", "json")
    found = json.loads(out)
    assert code == 1
    assert found["unrecorded"]["events"] == 1
    assert [one["eventId"] for one in found["unrecorded"]["examples"]] == [lost.event_id]
    assert found["answered"]["duplicates"] == 1
    assert found["unanswered"] == len(kept) - 1
    code, out, _ = stoa("usage", "reconcile", "--audit", logs[0])
    assert code == 1
    assert lost.event_id in out


def test_events_that_are_not_on_the_topic_are_a_gap(stoa: Shell, used: Path) -> None:
    holder = Consumer({"test.mock.num.brokers": 1, "group.id": "holder", "bootstrap.servers": "unused:1"})
    broker = next(iter(holder.list_topics(timeout=20).brokers.values()))
    address, topic = f"{broker.host}:{broker.port}", "stoa.metering.events"
    producer = Producer({"bootstrap.servers": address})
    lost, *sent = events()
    for one in [*sent, sent[0], sent[0].model_copy(update={"event_id": "elsewhere"})]:
        producer.produce(topic, one.model_dump_json().encode(), key=one.tenant.encode())
    assert producer.flush(20) == 0
    code, out, err = stoa("usage", "reconcile", "--kafka", address, "--format", "json")
    found = json.loads(out)
    assert code == 1, err
    assert [one["eventId"] for one in found["missing"]["examples"]] == [lost.event_id]
    assert (found["topic"]["duplicates"], found["onlyOnTopic"]) == (1, 1)
    producer.produce(topic, lost.model_dump_json().encode())
    assert producer.flush(20) == 0
    assert stoa("usage", "reconcile", "--kafka", address)[0] == 0
    holder.close()


def test_what_cannot_be_read_is_named(stoa: Shell, tmp_path: Path) -> None:
    code, _, err = stoa("usage", "reconcile", "--audit", tmp_path / "absent")
    assert (code, "absent is no file" in err) == (65, True)
    code, _, err = stoa("usage", "reconcile", "--kafka", "nonsense:x")
    assert (code, "HOST:PORT" in err) == (69, True)


HOSTILE = "\x1b]0;owned\x07\x9b2J\u202e[/foo]"


@pytest.mark.parametrize("tool", ["[/foo]", "[bold]x[/bold]", HOSTILE])
@pytest.mark.parametrize("form", ["table", "chart", "csv", "json"])
def test_text_of_others_is_shown_in_reports_as_text(stoa: Shell, data_dir: Path, tool: str, form: str) -> None:
    made = [event.model_copy(update={"tool": tool, "metadata": {"consumer": tool}}) for event in events()[:3]]
    write_outbox(data_dir, made)
    for groups in ("tool", "tool,day"):
        code, out, err = stoa("usage", "--format", form, "--by", groups)
        assert (code, err) == (0, "")
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(out)
        if form == "json":
            assert json.loads(out)["rows"][0]["tool"] == tool
        else:
            assert plain(tool) in out


def test_text_of_others_is_shown_in_errors_as_text(stoa: Shell) -> None:
    code, _, err = stoa("call", HOSTILE, "--role", "viewer")
    assert code != 0
    assert plain(HOSTILE) in err
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(err)
