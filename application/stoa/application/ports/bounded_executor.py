"""Where work is done whose cost others decide: parsing, converting and compiling what they wrote."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class BoundedExecutor(Protocol):
    """Runs functions beside the event loop.

    Laws: `run` gives all that the function yields, by value and in order. An InvalidInput arrives with its message. Any
    other failure is one as well, for the input is to blame: exceeding a limit of the executor, and what the function
    did not foresee. No run concerns another, whatever became of it; cancelling one ends its work.
    """

    @abstractmethod
    async def run(self, function: Callable[P, Iterable[T]], *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """`function`, its arguments and what it yields can be pickled. Raises InvalidInput, or Unavailable when nothing
        can be run now."""
        ...

    @abstractmethod
    async def close(self) -> None: ...
