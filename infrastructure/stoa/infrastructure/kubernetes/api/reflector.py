"""Keeps the objects of one path of the API server: lists them, then watches, and lists again when that is needed.

`Reflector` is Kubernetes' own word for this (client-go).
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from stoa.application.concurrency.supervisor import ReportDefect, Sleep, log_defect
from stoa.application.ports.bounded_executor import BoundedExecutor
from stoa.application.ports.clock import Clock
from stoa.domain.errors import InvalidInput, Unavailable
from stoa.domain.schema.json_value import as_text
from stoa.infrastructure.kubernetes.api.connection import KubernetesConnection
from stoa.infrastructure.kubernetes.api.errors import NO_ANSWER, ApiError, refused
from stoa.infrastructure.kubernetes.api.objects import (
    ApiObject,
    Event,
    Keep,
    Key,
    PageEnd,
    events_of,
    packed_events,
    packed_page,
    page_of,
    unpacked_event,
    unpacked_part,
    unreadable_event,
    unreadable_page,
)

PAGE_SIZE = 250
"""Objects of one page of a list."""
WATCH_SECONDS = (1800, 3600)
"""A watch is ended by the server after a time between these, and then begins with all objects again: whatever an event
that was lost left wrong is put right at the latest then."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 8.0
"""Pauses while the server is away double up to this; each is shortened at random by up to a half."""
REFUSED_PAUSE_SECONDS = 60.0
"""Pause after the server said that there is no such kind, or that the role does not allow it."""
_SHORT_WATCH_SECONDS = 5.0
"""A watch that ended sooner counts as a failure: something between ends every connection at once."""
_FAILURES_UNTIL_LIST = 3
"""Failures in a row after which the version is given up: a server whose etcd was restored may never reach it."""
_FAILURES_UNTIL_BELIEVED = 4
"""Failures in a row after which a 403 or 404 is believed: a server that just started knows no roles, no kinds."""
_LARGE_BYTES = 64 * 1024
"""Size from which an answer is read in another process."""


@dataclass(slots=True)
class ServerFeatures:
    """What the API server was found to understand; shared by the reflectors of one connection."""

    has_streaming_lists: bool | None = None
    """Streaming lists (`sendInitialEvents`); None: not known yet."""


@dataclass(frozen=True, slots=True)
class Watched:
    """The objects to follow."""

    path: str
    keep: Keep
    selectors: Mapping[str, str] = field(default_factory=dict[str, str])
    """`labelSelector` and `fieldSelector`."""


class Reflector:
    """Calls `changed` after the objects changed. `objects` stays as it is while the server is away."""

    def __init__(
        self,
        connection: KubernetesConnection,
        watched: Watched,
        changed: Callable[[], None],
        *,
        clock: Clock,
        executor: BoundedExecutor,
        features: ServerFeatures | None = None,
        sleep: Sleep = asyncio.sleep,
        jitter: Callable[[float, float], float] = random.uniform,
        report: ReportDefect = log_defect,
    ) -> None:
        """`jitter`: a number between two others, at random."""
        self.watched = watched
        self.is_synchronised = asyncio.Event()
        """Set once it is known what exists, or that the server does not say."""
        self.has_answer = asyncio.Event()
        """Set once the server gave a list, or refused one; the refusal is believed later."""
        self.is_known = False
        """Whether a list was ever complete."""
        self.problem = ""
        """Why the objects may be out of date; empty: they are not."""
        self._connection = connection
        self._changed = changed
        self._clock = clock
        self._executor = executor
        self._features = features or ServerFeatures()
        self._sleep = sleep
        self._jitter = jitter
        self._report = report
        self._objects: dict[Key, ApiObject] = {}
        self._version = ""
        """The resourceVersion to go on from; empty: begin with all objects."""
        self._failures = 0

    @property
    def objects(self) -> Mapping[Key, ApiObject]:
        return MappingProxyType(self._objects)

    async def run(self) -> None:
        """Follow the objects until cancelled."""
        while True:
            try:
                await self._follow()
            except ApiError as error:
                await self._after(error)
            except Exception as defect:  # noqa: BLE001  # of ours; the objects must not stay as they are for good
                self._report(f"kubernetes {self.watched.path}", defect)
                self._version = ""
                await self._after(ApiError(NO_ANSWER, f"an unexpected {type(defect).__name__}, which the log explains"))

    async def _after(self, error: ApiError) -> None:
        """Wait as long as the error asks for."""
        failures, self._failures = self._failures, self._failures + 1
        if error.is_expired or failures >= _FAILURES_UNTIL_LIST:
            self._version = ""
        if error.is_expired and not failures:
            return  # usual after a restart of the server
        self.problem = error.message
        is_refusal = error.is_missing or error.is_forbidden
        if is_refusal:
            self.has_answer.set()
        if is_refusal and failures >= _FAILURES_UNTIL_BELIEVED:
            if error.is_missing:
                self._replace({})
            self._version = ""
            self.is_synchronised.set()
            await self._sleep(REFUSED_PAUSE_SECONDS * self._jitter(0.5, 1.0))
            return
        pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 10), LONGEST_PAUSE_SECONDS)
        # At random: replicas that lost the server together must not come back together.
        await self._sleep(max(pause * self._jitter(0.5, 1.0), error.retry_after_seconds))

    async def _follow(self) -> None:
        """One watch, from all objects or from the last version, until the server ends it."""
        if not self._version and not await self._streams_lists():
            await self._list()
        began_ns = self._clock.monotonic_ns()
        try:
            await self._watch()
        finally:
            was_short = self._clock.monotonic_ns() - began_ns < _SHORT_WATCH_SECONDS * 1e9
            if not was_short:  # on a quiet cluster no event says that all went well
                self._failures = 0
        if was_short:
            raise ApiError(NO_ANSWER, "the API server ended a watch at once")
        self._version = ""

    async def _streams_lists(self) -> bool:
        """Servers before 1.27 ignore the parameter that they do not know, and would never end the list."""
        if self._features.has_streaming_lists is None:
            version = await self._connection.json("GET", "/version")
            minor = "".join(filter(str.isdigit, as_text(version.get("minor"))))
            self._features.has_streaming_lists = (as_text(version.get("major")), int(minor or 0)) >= ("1", 27)
        return self._features.has_streaming_lists

    async def _list(self) -> None:
        objects: dict[Key, ApiObject] = {}
        rest, version, limit = "", "", PAGE_SIZE
        while True:
            query = {**self.watched.selectors, "limit": str(limit), **({"continue": rest} if rest else {})}
            text = await self._connection.request("GET", self.watched.path, query=query)
            parts = await self._read_page(text)
            end = parts[-1]
            if not isinstance(end, PageEnd):
                raise ApiError(NO_ANSWER, "the API server's list has no end")
            if not end.is_readable and limit > 1:
                limit = 1  # one object spoils the page: it is met alone
                continue
            objects |= {part.key: part for part in parts if isinstance(part, ApiObject)}
            rest, version = end.rest, end.version
            if not rest:
                break
        self._replace(objects)
        self._caught_up(version)

    async def _watch(self) -> None:
        seconds = int(self._jitter(*WATCH_SECONDS))
        query = {
            **self.watched.selectors,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        initial: dict[Key, ApiObject] | None = None
        if self._version:
            query["resourceVersion"] = self._version
        elif self._features.has_streaming_lists:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
            initial = {}
        try:
            async for line in self._connection.lines(self.watched.path, query, self._connected, seconds=seconds + 30.0):
                for event in await self._read_events([line]):
                    initial = self._take(event, initial)
        except ApiError as error:
            if initial is None or not error.is_invalid:
                raise
            self._features.has_streaming_lists = False  # the feature is switched off there
            await self._list()
            await self._watch()

    def _take(self, event: Event, initial: dict[Key, ApiObject] | None) -> dict[Key, ApiObject] | None:
        """Apply one event. `initial`: the objects so far of a streaming list that has not ended; None: no such list.
        Raises ApiError for an ERROR."""
        if event.type == "ERROR":
            code = event.error.get("code")
            raise refused(code if isinstance(code, int) else 500, event.error)
        if event.object is not None and event.object.key[1]:
            if initial is not None:
                initial[event.object.key] = event.object
                return initial
            if event.type == "DELETED":
                self._remove(event.object.key)
            else:
                self._put(event.object)
        if event.ends_initial_events and initial is not None:
            self._replace(initial)
            self._caught_up(event.version)
            return None
        if event.version and initial is None:
            self._caught_up(event.version)
        return initial

    def _connected(self) -> None:
        """A watch that goes on from a version misses nothing, although it may be long until its first event."""
        if self._version:
            self.problem = ""

    def _caught_up(self, version: str) -> None:
        self._version, self._failures, self.problem, self.is_known = version, 0, "", True
        self.is_synchronised.set()
        self.has_answer.set()

    def _replace(self, objects: dict[Key, ApiObject]) -> None:
        """The objects are these now: whatever is not among them was deleted while nothing was heard."""
        before = self._objects
        self._objects = objects
        if before.keys() != objects.keys() or any(not one.is_same(objects[key]) for key, one in before.items()):
            self._changed()

    def _put(self, new: ApiObject) -> None:
        before = self._objects.get(new.key)
        self._objects[new.key] = new
        if before is None or not before.is_same(new):
            self._changed()

    def _remove(self, key: Key) -> None:
        if self._objects.pop(key, None) is not None:
            self._changed()

    async def _read_events(self, lines: Sequence[bytes]) -> Sequence[Event]:
        """Raises ApiError when nothing can be read now."""
        if sum(map(len, lines)) < _LARGE_BYTES:
            return list(events_of(lines, self.watched.keep))
        try:
            packed = await self._executor.run(packed_events, list(lines), self.watched.keep)
            return list(map(unpacked_event, packed))
        except InvalidInput:  # reading them took all that the executor allows
            return [await asyncio.to_thread(unreadable_event, line) for line in lines]
        except Unavailable as busy:
            raise ApiError(NO_ANSWER, busy.message) from busy

    async def _read_page(self, text: bytes) -> Sequence[ApiObject | PageEnd]:
        """Raises ApiError when nothing can be read now."""
        if len(text) < _LARGE_BYTES:
            return list(page_of(text, self.watched.keep))
        try:
            packed = await self._executor.run(packed_page, text, self.watched.keep)
            return list(map(unpacked_part, packed))
        except InvalidInput:
            return await asyncio.to_thread(unreadable_page, text)
        except Unavailable as busy:
            raise ApiError(NO_ANSWER, busy.message) from busy
