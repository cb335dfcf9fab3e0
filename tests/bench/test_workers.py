"""`python -m bench workers` counts the calls of each worker."""

from pathlib import Path

from bench.systems import SUCCESS
from bench.workers import Workers, imbalance


def test_workers_are_told_apart_by_process_however_many_segments_each_has_filled(tmp_path: Path) -> None:
    gateway = Workers("http://127.0.0.1:1", tmp_path, 2)
    gateway.outbox.mkdir(parents=True)
    for name, calls in (("20261130T120000.1Z-7-aa", 3), ("20261130T120001.1Z-7-bb", 2), ("20261130T120000.2Z-8-cc", 5)):
        (gateway.outbox / f"{name}.jsonl").write_bytes(SUCCESS * calls)
    assert gateway.calls_by_worker() == {"7": 5, "8": 5}


def test_workers_imbalance_is_what_the_busiest_has_above_an_even_share() -> None:
    assert imbalance([8, 8]) == 0
    assert imbalance([12, 4]) == 0.5
    assert imbalance([16, 0]) == 1
