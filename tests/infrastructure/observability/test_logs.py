"""Logs say what happened, whatever others wrote into it."""

import json
import logging
from collections.abc import Callable, Iterator

import pytest

from stoa.infrastructure.observability.logs import configure_logging

HOSTILE = "\x1b]0;owned\x07\x9b2J\u202e[/foo]"


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level

    def log(form: str) -> str:
        configure_logging("info", form)  # type: ignore[arg-type]
        logger = logging.getLogger("tests.logs")
        logger.error("name %s\n2026-01-01 [info] forged", HOSTILE, extra={"tool": HOSTILE, "several": [HOSTILE]})
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            logger.exception("failed: %s", HOSTILE)
        return capsys.readouterr().err

    yield log
    root.handlers[:] = before
    root.setLevel(level)


def test_logs_for_people_hold_no_control_of_others(logged: Callable[..., str]) -> None:
    said = logged("console")
    assert "]0;owned2J[/foo]" in said.splitlines()[0]
    assert "forged" in said.splitlines()[0]
    assert not {"\x07", "\x9b", "\u202e"} & set(said)
    assert "\x1b]" not in said


def test_logs_as_json_keep_everything_and_escape_it(logged: Callable[..., str]) -> None:
    said = logged("json")
    assert said.isascii()
    assert "\x1b" not in said
    assert json.loads(said.splitlines()[0])["tool"] == HOSTILE
