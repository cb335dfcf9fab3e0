"""What runs beside the calls."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping

from stoa.application.ending import end
from stoa.interfaces.bootstrap.parts import Background


class Running:
    """What runs beside the calls for as long as the process serves."""

    def __init__(self, *background: Mapping[str, Background]) -> None:
        self._background = {what: begin for one in background for what, begin in one.items()}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks += [asyncio.create_task(_attended(what, begin())) for what, begin in self._background.items()]

    async def stop(self) -> None:
        await end(*self._tasks)


async def _attended(what: str, work: Coroutine[None, None, None]) -> None:
    try:
        await work
    except Exception:  # the calls go on with what was there; only the log can tell
        logging.getLogger(__name__).exception("the %s is no longer looked after; restart the gateway", what)
