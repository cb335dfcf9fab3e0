"""An outbox that is removed, moved or replaced under the running gateway: nothing that was answered is lost."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.events import event
from tests.infrastructure.outbox.disk import KIB

from stoa.domain.errors import MeteringUnavailable
from stoa.infrastructure.outbox import OutboxMeteringBacklog, OutboxMeteringSink, OutboxUsageLog
from stoa.infrastructure.outbox.segment import list_segments
from stoa.testing.clock import ManualClock


def _remove(outbox: Path) -> None:
    shutil.rmtree(outbox, ignore_errors=True)


def _remove_files(outbox: Path) -> None:
    for path in list_segments(outbox):
        path.unlink()


def _remove_one(outbox: Path) -> None:
    for path in list_segments(outbox)[-1:]:
        path.unlink()


def _move(outbox: Path) -> None:
    if outbox.exists():
        outbox.rename(outbox.with_name(f"moved-{len(list(outbox.parent.iterdir()))}"))


def _replace(outbox: Path) -> None:
    """As restoring a backup does: the same names, other files."""
    if outbox.exists():
        copy = outbox.with_name("copy")
        shutil.copytree(outbox, copy)
        _remove(outbox)
        copy.rename(outbox)


WAYS: dict[str, Callable[[Path], None]] = {
    "folder removed": _remove,
    "files removed": _remove_files,
    "last file removed": _remove_one,
    "moved": _move,
    "replaced": _replace,
}


_OF_OPEN_FILES = ("folder removed", "files removed", "moved")
"""What is removed so again and again was open each time: what is closed is the operator's."""


def _found(folder: Path) -> list[str]:
    """Everything that can be read, wherever it was moved to."""
    return sorted(one.event_id for outbox in folder.iterdir() for one in OutboxUsageLog(outbox).events())


@pytest.mark.parametrize("durability", ["process", "fsync"])
@pytest.mark.parametrize("way", WAYS)
async def test_outbox_removed_while_it_is_written_to_loses_no_answered_call(
    way: str, durability: Literal["process", "fsync"], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    sink = OutboxMeteringSink(tmp_path / "outbox", clock=clock, durability=durability)
    for number in range(5):
        sink.reserve()
        await sink.record(event(f"before {number}"))
    sink.reserve()
    WAYS[way](tmp_path / "outbox")
    await sink.record(event("after"))
    assert _found(tmp_path) == ["after", *(f"before {number}" for number in range(5))]
    assert sink.health().is_ready
    (finding,) = sink.health().findings
    assert "removed or moved" in finding
    assert finding in caplog.text
    clock.advance(3601)
    assert sink.health().findings == ()
    await sink.close()
    assert len(_found(tmp_path)) == 6


async def test_outbox_removed_while_nobody_calls_is_noticed_by_the_probe(tmp_path: Path) -> None:
    sink = OutboxMeteringSink(tmp_path / "outbox", clock=ManualClock())
    await sink.record(event("kept"), is_reserved=False)
    _remove(tmp_path / "outbox")
    sink.health()
    await asyncio.sleep(0)
    assert len(sink.health().findings) == 1
    assert _found(tmp_path) == ["kept"]
    await sink.close()


async def test_outbox_removed_before_the_end_is_written_again_at_the_end(tmp_path: Path) -> None:
    sink = OutboxMeteringSink(tmp_path / "outbox", clock=ManualClock())
    await sink.record(event("kept"), is_reserved=False)
    _remove(tmp_path / "outbox")
    await sink.close()
    assert _found(tmp_path) == ["kept"]


async def test_outbox_that_cannot_be_made_again_refuses_calls_and_keeps_what_was_answered(tmp_path: Path) -> None:
    clock = ManualClock()
    sink = OutboxMeteringSink(tmp_path / "outbox", clock=clock)
    sink.reserve()
    await sink.record(event("kept"))
    sink.reserve()
    _remove(tmp_path / "outbox")
    (tmp_path / "outbox").write_text("no folder")
    with pytest.raises(MeteringUnavailable, match="remove the file"):
        await sink.record(event("withheld"))
    assert not sink.health().is_ready
    (tmp_path / "outbox").unlink()
    clock.advance(1)
    sink.reserve()
    await sink.record(event("again"))
    assert _found(tmp_path) == ["again", "kept"]
    assert sink.health().is_ready
    await sink.close()


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.sampled_from(["record", "record", "refuse", *_OF_OPEN_FILES]), max_size=25))
def test_outbox_removed_at_any_moments_loses_no_answered_call(steps: list[str]) -> None:
    async def run(folder: Path) -> None:
        sink = OutboxMeteringSink(folder / "outbox", clock=ManualClock())
        answered: set[str] = set()
        for number, step in enumerate(steps):
            if step in WAYS:
                WAYS[step](folder / "outbox")
                continue
            one = event(str(number), padding=1500)
            if step == "record":
                sink.reserve()
                await sink.record(one)
            else:
                await sink.record_refusal(one)
            answered.add(one.event_id)
        await sink.close()
        assert _found(folder) == sorted(answered)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


async def test_outbox_removed_under_the_relay_gives_the_turn_to_one_process(tmp_path: Path) -> None:
    outbox = tmp_path / "outbox"
    here, there = OutboxMeteringBacklog(outbox), OutboxMeteringBacklog(outbox)
    sink = OutboxMeteringSink(outbox, clock=ManualClock())
    await sink.record(event("a"), is_reserved=False)
    assert await here.read(max_events=9, max_bytes=KIB) is not None
    assert await there.read(max_events=9, max_bytes=KIB) is None
    _remove(outbox)
    await sink.record(event("b"), is_reserved=False)
    turns = [await backlog.read(max_events=9, max_bytes=KIB) for backlog in (there, here)]
    assert [turn is None for turn in turns] == [False, True]
    for backlog in (here, there):
        await backlog.close()
    await sink.close()
