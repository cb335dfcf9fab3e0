"""The log's format: JSON lines, or colours for people. Libraries log in the same format."""

import logging
import sys
from typing import Literal

import structlog

from stoa.domain.schema.plain_text import plain


def configure_logging(level: str, form: Literal["json", "console"]) -> None:
    """Sends all logging to standard error in one format. Called once by the process that serves."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        _without_colours,
    ]
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.JSONRenderer()] if form == "json" else [_plain, structlog.dev.ConsoleRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                *renderers,
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # logs URLs of every request, queries included


def _plain(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Removes control characters for a terminal; JSON escapes them itself. Values other than text are shown by their
    repr, which escapes too."""
    return {name: _shown(name, value) if isinstance(value, str) else value for name, value in event.items()}


def _shown(name: str, text: str) -> str:
    """Keeps a value on one line, so that it cannot imitate a log line of the gateway. Only a traceback has several
    lines."""
    return plain(text) if name in {"exception", "stack"} else plain(text).replace("\n", "\\n")


def _without_colours(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Removes uvicorn's duplicate of each message with terminal colours."""
    event.pop("color_message", None)
    return event
