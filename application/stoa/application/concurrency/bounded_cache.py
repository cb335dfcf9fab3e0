"""A bounded mapping for values that can be computed again, so that callers cannot fill the memory."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """At most `maximum` entries; putting one more evicts the entry that was put the longest ago."""

    __slots__ = ("_entries", "_maximum", "get")

    def __init__(self, maximum: int) -> None:
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._maximum = maximum
        self.get: Callable[[K], V | None] = self._entries.get
        """Returns the value that was put last under a key, or None. It is the dictionary's own method, because calls
        use it."""

    def put(self, key: K, value: V) -> None:
        """Store a value; `key` becomes the newest, even if it was stored already."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._maximum:
            self._entries.popitem(last=False)

    def discard(self, key: K) -> None:
        self._entries.pop(key, None)

    def clear(self) -> None:
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)
