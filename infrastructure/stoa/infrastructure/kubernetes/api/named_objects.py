"""Follows single objects by their names: the ConfigMaps and Secrets that manifests name.

Each has a watch of its own, so that a role can allow these names alone (`resourceNames`), and nothing else of a
namespace is ever read.
"""

import asyncio
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Literal

from stoa.application.concurrency.cancellation import cancel_and_wait
from stoa.infrastructure.kubernetes.api.cluster import Cluster
from stoa.infrastructure.kubernetes.api.objects import ApiObject, Key, entries
from stoa.infrastructure.kubernetes.api.reflector import Reflector, Watched

FIRST_READ_SECONDS = 5.0
"""Upper bound on the wait for an object that was not followed before."""


class NamedObjects:
    """The followed objects of one built-in kind."""

    def __init__(self, cluster: Cluster, resource: Literal["configmaps", "secrets"]) -> None:
        self._cluster = cluster
        self._resource = resource
        self._followed: dict[Key, tuple[Reflector, asyncio.Task[None]]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def followed(self) -> Iterable[Reflector]:
        return [reflector for reflector, _ in self._followed.values()]

    async def follow(self, keys: Collection[Key]) -> None:
        """Follow these objects too, and wait until the API server answered about each, for FIRST_READ_SECONDS at most.
        A refusal is an answer: an object that the role forbids must not hold up the manifests that do not name it."""
        for key in keys:
            if key not in self._followed:
                reflector = self._cluster.reflector(self._watched(key))
                name = f"kubernetes {self._resource} {'/'.join(key)}"
                self._followed[key] = reflector, asyncio.create_task(reflector.run(), name=name)
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_READ_SECONDS):
                for key in keys:
                    await self._followed[key][0].has_answer.wait()

    def keep_only(self, keys: Collection[Key]) -> None:
        """Stop following all others."""
        for key in self._followed.keys() - set(keys):
            _, task = self._followed.pop(key)
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def get(self, key: Key) -> ApiObject | None:
        """The object as it was heard of last; None: it does not exist, may not be read, or is not followed."""
        followed = self._followed.get(key)
        found = None if followed is None else followed[0].objects.get(key)
        return None if found is None or found.is_leaving else found

    def reflector_of(self, key: Key) -> Reflector | None:
        """The reflector of a followed object."""
        followed = self._followed.get(key)
        return None if followed is None else followed[0]

    async def close(self) -> None:
        self.keep_only(())
        await cancel_and_wait(*self._ending)

    def _watched(self, key: Key) -> Watched:
        namespace, name = key
        path = f"/api/v1/namespaces/{namespace}/{self._resource}"
        return Watched(path, entries, {"fieldSelector": f"metadata.name={name}"})
