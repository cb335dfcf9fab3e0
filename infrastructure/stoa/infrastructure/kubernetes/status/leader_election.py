"""Elects the one replica that writes status, by a Lease (coordination.k8s.io/v1)."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from stoa.application.concurrency.cancellation import cancel_and_wait, first_of
from stoa.application.concurrency.supervisor import Sleep
from stoa.application.ports.clock import Clock
from stoa.domain.schema.json_value import JsonObject, as_object, as_text
from stoa.infrastructure.kubernetes.api.cluster import Cluster
from stoa.infrastructure.kubernetes.api.errors import ApiError
from stoa.infrastructure.kubernetes.api.objects import ApiObject
from stoa.infrastructure.kubernetes.api.reflector import Watched

LEASE_SECONDS = 12
"""Time after which a leader that does not renew is replaced."""
RENEW_SECONDS = 4.0
RETRY_SECONDS = 1.0
"""Pause after a renewal that failed."""
REQUEST_SECONDS = 3.0
"""Timeout of every request of the election."""


@dataclass(frozen=True, slots=True)
class LeaseName:
    """The Lease that replicas of one gateway share."""

    namespace: str
    name: str


def lease_spec(value: JsonObject) -> JsonObject | str:
    """The `spec` of a Lease. A Keep."""
    return as_object(value.get("spec"))


class LeaderElection:
    """Laws: at most one replica is leader at any moment, although their clocks differ: a leader counts its time from
    before it asked for it, the others from when they saw it granted, and each by its own monotonic clock. A leader that
    dies, or loses the API server, is replaced within LEASE_SECONDS and the time of a request; one that ends releases
    the lease.
    """

    def __init__(
        self,
        cluster: Cluster,
        lease: LeaseName,
        identity: str,
        clock: Clock,
        elected: Callable[[], None],
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`elected` is called when this replica becomes leader."""
        self._connection = cluster.connection
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{lease.namespace}/leases"
        self._name = lease.name
        self._namespace = lease.namespace
        self._own_path = f"{self._path}/{lease.name}"
        self._sleep = sleep
        self._identity = identity
        self._clock = clock
        self._elected = elected
        self._heard = asyncio.Event()
        watched = Watched(self._path, lease_spec, {"fieldSelector": f"metadata.name={lease.name}"})
        self._reflector = cluster.reflector(watched, self._heard.set)
        self._leader_until_ns = 0
        self._held: JsonObject | None = None
        """The lease as this replica wrote it last; None: it has to be read."""
        self._observed: tuple[str, int] = ("", 0)
        """The version of the lease that was seen last, and when it was first seen."""
        self.problem = ""
        """Why the lease can be neither taken nor watched; empty: it can."""

    def leads_for(self, seconds: float) -> bool:
        """True if this replica is the leader for so long at least: a write that ends by then is no second leader's."""
        return self._clock.monotonic_ns() + int(seconds * 1e9) < self._leader_until_ns

    async def run(self) -> None:
        """Take part until cancelled, then release the lease."""
        follower = asyncio.create_task(self._reflector.run(), name="kubernetes lease")
        try:
            while True:
                pause = await self._step()
                await self._rest(pause)
        finally:
            await cancel_and_wait(follower)
            await self._release()

    async def _rest(self, seconds: float) -> None:
        """Wait; followers until they hear of the lease. A leader would be woken by its own renewals."""
        self._heard.clear()
        if self.leads_for(0):
            await self._sleep(seconds)
        else:
            await first_of(self._sleep(seconds), self._heard.wait())

    async def _step(self) -> float:
        """Take, renew or observe the lease; returns the seconds until the next step."""
        lease = self._reflector.objects.get((self._namespace, self._name))
        try:
            if lease is None or self.leads_for(0) or self._is_free(lease):
                await self._acquire()
                self.problem = ""
                return RENEW_SECONDS
            self.problem = ""
        except ApiError as error:
            if not error.is_conflict:  # another was faster
                self.problem = error.message
            return RETRY_SECONDS
        return self._seconds_until_free()

    async def _acquire(self) -> None:
        """Renew the lease, or take it if it is free. Raises ApiError; a conflict where another was faster."""
        asked_ns = self._clock.monotonic_ns()
        # A leader knows the version that it wrote last, and is refused if that is no longer the last one.
        lease, self._held = self._held or await self._read(), None
        if lease is None:
            self._held = await self._request("POST", self._path, self._lease({}, self._spec(None)))
        else:
            spec = as_object(lease.get("spec"))
            if not self._is_ours(spec) and not self._is_free_now(lease):
                self._leader_until_ns = 0
                raise ApiError(409, "another replica leads")
            self._held = await self._request("PUT", self._own_path, self._lease(lease, self._spec(spec)))
        was_leader = self.leads_for(0)
        self._leader_until_ns = asked_ns + LEASE_SECONDS * 1_000_000_000
        if not was_leader:
            self._elected()

    def _is_free(self, lease: ApiObject) -> bool:
        """True if nobody holds the lease as it was seen last, or its holder has let its time run out."""
        if self._observed[0] != lease.version:
            self._observed = lease.version, self._clock.monotonic_ns()
        return not as_text(as_object(lease.content).get("holderIdentity")) or self._seconds_until_free() <= 0

    def _is_free_now(self, lease: JsonObject) -> bool:
        """True if the lease that was just read is the one that was seen to run out."""
        version = as_text(as_object(lease.get("metadata")).get("resourceVersion"))
        is_held = bool(as_text(as_object(lease.get("spec")).get("holderIdentity")))
        if self._observed[0] != version:
            self._observed = version, self._clock.monotonic_ns()
        return not is_held or self._seconds_until_free() <= 0

    def _is_ours(self, spec: JsonObject) -> bool:
        return as_text(spec.get("holderIdentity")) == self._identity

    def _seconds_until_free(self) -> float:
        return LEASE_SECONDS - (self._clock.monotonic_ns() - self._observed[1]) / 1e9

    def _spec(self, before: JsonObject | None) -> JsonObject:
        now = _micro_time(self._clock.now())
        if before is not None and self._is_ours(before):
            return {**before, "renewTime": now, "leaseDurationSeconds": LEASE_SECONDS}
        transitions = 0 if before is None else int(before.get("leaseTransitions") or 0) + 1
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }

    def _lease(self, before: JsonObject, spec: JsonObject) -> JsonObject:
        """With the version of the lease that it replaces, so that the server refuses it once another was faster."""
        metadata = as_object(before.get("metadata")) or {"name": self._name, "namespace": self._namespace}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    async def _read(self) -> JsonObject | None:
        try:
            return await self._request("GET", self._own_path, None)
        except ApiError as error:
            if error.is_missing:
                return None
            raise

    async def _request(self, method: str, path: str, body: JsonObject | None) -> JsonObject:
        return await self._connection.json(method, path, body=body, timeout_seconds=REQUEST_SECONDS)

    async def _release(self) -> None:
        """Let another take the lease at once. Without it the others wait until it runs out."""
        if not self.leads_for(0):
            return
        self._leader_until_ns = 0
        with suppress(ApiError):
            lease = await self._read()
            spec = as_object(as_object(lease).get("spec"))
            if lease is not None and self._is_ours(spec):
                released = self._lease(lease, {**spec, "holderIdentity": ""})
                await self._request("PUT", self._own_path, released)


def _micro_time(moment: datetime) -> str:
    """As Kubernetes writes a MicroTime."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
