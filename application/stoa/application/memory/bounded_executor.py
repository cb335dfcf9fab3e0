"""Work of unknown cost in a thread of this process: for programs that trust their manifests."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from stoa.application.ports.bounded_executor import BoundedExecutor
from stoa.domain.errors import InvalidInput

P = ParamSpec("P")
T = TypeVar("T")
_log = logging.getLogger(__name__)


class InThreadExecutor(BoundedExecutor):
    """Runs work without limits, because a thread cannot be ended. A cancelled run works on to its end, and its result
    is dropped."""

    async def run(self, function: Callable[P, Iterable[T]], *args: P.args, **kwargs: P.kwargs) -> list[T]:
        try:
            return await asyncio.to_thread(lambda: list(function(*args, **kwargs)))
        except InvalidInput:
            raise
        except Exception as failure:
            _log.exception("an input could not be processed")
            raise InvalidInput(f"cannot be processed ({type(failure).__name__})") from failure

    async def close(self) -> None:
        pass
