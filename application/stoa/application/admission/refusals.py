"""Refusals: the one place where the doors report what they refused.

A door reports when it writes the answer, regardless of the part of the gateway that refused, so that each refusal
counts once and none is forgotten. The metering of calls is independent of it.
"""

import logging
from collections.abc import Iterable

from stoa.application.ports.refusal_watcher import RefusalWatcher
from stoa.domain.policy.refusal import Refusal

_log = logging.getLogger(__name__)


class Refusals:
    def __init__(self, watchers: Iterable[RefusalWatcher] = ()) -> None:
        self._watchers = tuple(watchers)

    def tell(self, refusal: Refusal) -> None:
        """Inform all watchers. Never raises."""
        for watcher in self._watchers:
            try:
                watcher.told(refusal)
            except Exception:  # noqa: BLE001  # a broken watcher must not change a refusal
                _log.exception("a watcher of refusals failed", extra={"watcher": type(watcher).__name__})
