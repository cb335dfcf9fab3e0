"""One cluster, as its parts share it: the connection, what its server understands, and the notices of changes."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from stoa.application.concurrency.supervisor import ReportDefect, Sleep, log_defect
from stoa.application.memory.change_notices import ChangeNotices
from stoa.application.ports.bounded_executor import BoundedExecutor
from stoa.application.ports.clock import Clock
from stoa.domain.errors import StoaError
from stoa.infrastructure.kubernetes.api.connection import KubernetesConnection
from stoa.infrastructure.kubernetes.api.reflector import Reflector, ServerFeatures, Watched


def _nothing() -> tuple[()]:
    return ()


class Cluster:
    """Makes reflectors whose changes are announced to every watcher of `notices`."""

    def __init__(
        self,
        connection: KubernetesConnection,
        *,
        clock: Clock,
        executor: BoundedExecutor,
        sleep: Sleep = asyncio.sleep,
        report: ReportDefect = log_defect,
    ) -> None:
        self.connection = connection
        self.notices = ChangeNotices()
        self.revision = 0
        """Counts the changes."""
        self._clock = clock
        self._executor = executor
        self.sleep = sleep
        self._report = report
        self._features = ServerFeatures()

    def reflector(self, watched: Watched, changed: Callable[[], None] | None = None) -> Reflector:
        """`changed`: called instead of an announcement."""
        return Reflector(
            self.connection,
            watched,
            changed or self._changed,
            clock=self._clock,
            executor=self._executor,
            features=self._features,
            sleep=self.sleep,
            report=self._report,
        )

    async def prepare(self) -> None:
        """Start the process that reads manifests, so that the first change does not wait for it."""
        with suppress(StoaError):
            await self._executor.run(_nothing)

    def _changed(self) -> None:
        self.revision += 1
        self.notices.announce()
