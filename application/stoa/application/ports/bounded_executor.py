"""Executes work whose cost the authors of its input decide: parsing, converting and compiling."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class BoundedExecutor(Protocol):
    """Runs functions outside of the event loop.

    Laws: `run` gives all that the function yields, by value and in order. An InvalidInput arrives with its message. Any
    other failure is an InvalidInput as well, because the input is to blame: exceeding a limit of the executor, or an
    unexpected exception of the function. Runs are independent of each other, also when one fails; cancelling a run ends
    its work.
    """

    @abstractmethod
    async def run(self, function: Callable[P, Iterable[T]], *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """All that the function yields. `function`, its arguments and the yielded values can be pickled. Raises
        InvalidInput, or Unavailable when nothing can be run now."""
        ...

    @abstractmethod
    async def close(self) -> None: ...
