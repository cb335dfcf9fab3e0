"""Python functions of the embedding program that know what an argument may be completed to.

    def cities(value: str, arguments: Mapping[str, str]) -> list[str]:
        return [city for city in CITIES[arguments.get("country", "")] if city.startswith(value)]

A function gets what has been typed so far and the other arguments, as far as they are known; it offers what fits, best
first. A parameter with the type Principal gets the caller.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from stoa.application.concurrency.fair_threads import FairThreads
from stoa.domain.access.identity import Principal
from stoa.domain.errors import InvalidInput
from stoa.domain.operations.operation import OperationKey

_log = logging.getLogger(__name__)

Completer = Callable[..., Any]

TIMEOUT_SECONDS = 2.0
THREADS = 4
"""Threads for synchronous functions. A hanging function cannot be stopped, and must not take the threads of calls."""
MAX_OFFERED = 10_000
"""Upper bound on the proposed values that are read; further ones are not counted."""
MAX_LENGTH = 1000
"""Upper bound on the characters of one value."""


class Completers:
    """Functions by the argument that they complete. A failure is logged for the operator; the person who types gets no
    proposals."""

    def __init__(self, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._timeout_seconds = timeout_seconds
        self._threads = FairThreads(THREADS, "stoa-completion")
        self._functions: dict[tuple[OperationKey, str], _Completion] = {}

    def add(self, key: OperationKey, argument: str, function: Completer) -> None:
        """Register a function. Raises InvalidInput for one that cannot be called like this."""
        self._functions[key, argument] = _Completion(f"{key}, argument {argument}", function)

    def remove(self, key: OperationKey) -> None:
        """Forget the functions of all its arguments."""
        for named in [named for named in self._functions if named[0] == key]:
            del self._functions[named]

    async def offer(
        self, key: OperationKey, argument: str, value: str, arguments: Mapping[str, str], caller: Principal
    ) -> tuple[str, ...] | None:
        """At most MAX_OFFERED values; None: no function completes this argument."""
        completion = self._functions.get((key, argument))
        if completion is None:
            return None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await completion(self._threads, value, arguments, caller)
        except Exception:  # noqa: BLE001  # the program's code: a proposal that cannot be made must not fail anything
            _log.warning("completion failed: %s", completion.name, exc_info=True)
            return ()

    def close(self) -> None:
        self._threads.close()


class _Completion:
    def __init__(self, name: str, function: Completer) -> None:
        self.name = name
        self._function = function
        self._is_async = inspect.iscoroutinefunction(function)
        self._caller = _caller_parameter(name, function)

    async def __call__(
        self, threads: FairThreads, value: str, arguments: Mapping[str, str], caller: Principal
    ) -> tuple[str, ...]:
        rest = {} if self._caller is None else {self._caller: caller}
        if self._is_async:
            return _values(await self._function(value, arguments, **rest))
        return await threads.run(caller.tenant, lambda: _values(self._function(value, arguments, **rest)))


def _caller_parameter(name: str, function: Completer) -> str | None:
    """The parameter that gets the caller. Raises InvalidInput."""
    problem = f"{name}: a function that completes it takes the typed value and the other arguments, in this order"
    try:
        signature = inspect.signature(function, eval_str=True)
    except (NameError, TypeError, ValueError) as caught:
        raise InvalidInput(f"{problem}; its type hints must be importable") from caught
    named = [parameter.name for parameter in signature.parameters.values() if parameter.annotation is Principal]
    try:
        signature.bind("", {}, **dict.fromkeys(named[:1]))
    except TypeError as caught:
        raise InvalidInput(problem) from caught
    return named[0] if named else None


def _values(offered: Iterable[Any]) -> tuple[str, ...]:
    if isinstance(offered, str):
        raise TypeError("a function that completes gives values, not one text")
    values = tuple(islice(offered, MAX_OFFERED))
    for value in values:
        if not isinstance(value, str) or len(value) > MAX_LENGTH:
            raise TypeError(f"a function that completes gives texts of at most {MAX_LENGTH} characters")
    return tuple(value.encode("utf-8", "replace").decode() for value in values)
