"""What a segment looks like from outside: to readers, and to whoever tidies up after a dead writer."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stoa.infrastructure.outbox.segment import Piece, Segment, list_segments, read_piece, reclaim

STAMP = datetime(2026, 1, 1, tzinfo=UTC)


def test_every_byte_of_a_new_segment_is_allocated(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path, STAMP, 64 * 1024)
    status = segment.path.stat()
    assert status.st_size == 64 * 1024
    assert status.st_blocks * 512 >= 64 * 1024
    segment.seal()


def test_a_sealed_segment_has_no_tail_and_an_unused_one_is_gone(tmp_path: Path) -> None:
    used, unused = (Segment.create(tmp_path, STAMP, 8192) for _ in range(2))
    used.append(b"{}\n")
    used.seal()
    unused.seal()
    assert list_segments(tmp_path) == [used.path]
    assert used.path.read_bytes() == b"{}\n"


def test_an_unfinished_line_is_none_while_the_writer_lives_and_after(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path, STAMP, 8192)
    segment.append(b'{"a":1}\n')
    segment.append(b'{"a":')
    assert read_piece(segment.path) == Piece([b'{"a":1}'], 8, is_last=False)
    segment.seal()
    assert read_piece(segment.path) == Piece([b'{"a":1}'], 13, is_last=True)


def test_lines_behind_a_hole_of_zeros_are_found_once_the_writer_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"first\nsec" + bytes(4096) + b"rd\nfourth\n" + bytes(1000))
    first, hole, fourth = read_piece(path).lines
    assert (first, fourth) == (b"first", b"fourth")
    assert b"\0" in hole


@pytest.mark.parametrize("content", [b"one\ntwo\n", b"one\ntw", b""])
def test_reclaiming_cuts_the_zero_tail_of_a_dead_segment_only(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content + bytes(8192))
    reclaim(path)
    assert path.exists() == bool(content)
    assert not content or path.read_bytes() == content


def test_a_segment_whose_sync_failed_once_never_claims_to_be_safe_again(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path, STAMP, 8192)
    segment.append(b"{}\n")
    spare = os.dup(segment._descriptor)
    os.close(segment._descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        segment.sync()
    os.dup2(spare, segment._descriptor)
    os.close(spare)
    with pytest.raises(OSError, match="earlier sync failed"):
        segment.sync()
    segment.seal()


def test_reclaiming_leaves_a_live_segment_alone(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path, STAMP, 8192)
    segment.append(b"{}\n")
    reclaim(segment.path)
    assert segment.path.stat().st_size == 8192
    segment.seal()


def test_a_segment_that_vanished_needs_no_reclaiming(tmp_path: Path) -> None:
    reclaim(tmp_path / "gone.jsonl")


def test_a_missing_directory_has_no_segments(tmp_path: Path) -> None:
    assert list_segments(tmp_path / "nowhere") == []
