"""Writes the status of manifests to their objects, and an Event for each transition."""

import asyncio
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from stoa.application.catalogue.status import status_of
from stoa.application.concurrency.cancellation import first_of
from stoa.application.concurrency.pace import in_turns
from stoa.application.concurrency.supervisor import Sleep
from stoa.application.ports.catalogue_observer import CatalogueLoad, CatalogueObserver, ManifestReport
from stoa.application.ports.clock import Clock
from stoa.application.ports.health import Health, HealthProbe
from stoa.domain.origin import ObjectOrigin
from stoa.domain.schema.json_value import JsonObject
from stoa.infrastructure.kubernetes.api.cluster import Cluster
from stoa.infrastructure.kubernetes.api.errors import ApiError
from stoa.infrastructure.kubernetes.manifests.tool_source import API, PLURALS, FollowedManifest, KubernetesToolSource
from stoa.infrastructure.kubernetes.status.call_counts import CallCounts
from stoa.infrastructure.kubernetes.status.leader_election import REQUEST_SECONDS, LeaderElection, LeaseName
from stoa.infrastructure.kubernetes.status.rate import WriteRate
from stoa.infrastructure.kubernetes.status.rendered_status import is_told, patch, rendered, transition

FLUSH_SECONDS = 30.0
"""Interval in which calls are counted together, and writes that failed are tried again."""
MOST_EVENTS = 10_000
"""Events that wait to be sent; of more the oldest are dropped."""
_REPORTER = "stoa-mcp-gateway"


@dataclass(frozen=True, slots=True)
class _Told:
    """What was done about one manifest."""

    report: ManifestReport
    shown: JsonObject
    """The status that its object showed."""
    sent: JsonObject | None
    """The status that was sent last; None: none. A CRD that prunes a part of it would ask for it again and again."""

    def is_still(self, report: ManifestReport, manifest: FollowedManifest) -> bool:
        return manifest.object.status is self.shown and self.report == report


class StatusWriter(CatalogueObserver, HealthProbe):
    """Hears what each manifest gave, and writes it while this replica is the leader. Nothing is written where nothing
    changed. A conflict is no trouble: the object's new version is heard of, and its status follows."""

    name = "kubernetes status"

    def __init__(
        self,
        cluster: Cluster,
        source: KubernetesToolSource,
        counts: CallCounts,
        lease: LeaseName,
        identity: str,
        clock: Clock,
        *,
        rate: WriteRate | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._connection = cluster.connection
        self._source = source
        self._counts = counts
        self._identity = identity
        self._clock = clock
        self._rate = rate or WriteRate(clock)
        self._sleep = sleep
        self._due = asyncio.Event()
        self.election = LeaderElection(cluster, lease, identity, clock, self._due.set, sleep=sleep)
        self._reports: Mapping[ObjectOrigin, ManifestReport] = {}
        self._told: dict[ObjectOrigin, _Told] = {}
        self._events: deque[JsonObject] = deque(maxlen=MOST_EVENTS)
        self._problem = ""

    async def loaded(self, load: CatalogueLoad) -> None:
        self._reports = {
            report.document.origin: report
            async for report in in_turns(load.manifests)
            if isinstance(report.document.origin, ObjectOrigin)
        }
        await self._counts.follow(self._reports.values())
        self._due.set()

    def health(self) -> Health:
        problems = [problem for problem in (self._problem, self.election.problem) if problem]
        role = "leader" if self.election.leads_for(0) else "follower"
        return Health(True, role, tuple(f"status of manifests: {problem}" for problem in problems))

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            self._due.clear()
            if self.election.leads_for(REQUEST_SECONDS):
                await self._write_all()
                # After all statuses, with which they share the rate: a thousand of them would be right twice as late.
                await self._send_events()
            else:
                self._events.clear()  # they would come late, and twice where the next leader saw the same
            await first_of(self._sleep(FLUSH_SECONDS), self._due.wait())  # a load or an election

    async def _write_all(self) -> None:
        problem = ""
        told: dict[ObjectOrigin, _Told] = {}
        async for origin, report in in_turns(self._reports.items()):
            manifest = self._source.manifest(origin)
            if manifest is None or manifest.document != report.document:
                continue  # another version of it is on its way into the catalogue, and its report follows
            before = self._told.get(origin)
            has_calls = self._counts.pending(origin).invocations > 0
            if before is not None and before.is_still(report, manifest) and not has_calls:
                told[origin] = before
                continue
            await asyncio.sleep(0)  # computing a thousand of them must not hold up calls
            try:
                told[origin] = await self._write(origin, report, manifest, None if before is None else before.sent)
            except ApiError as error:
                if not error.is_conflict and not error.is_missing:
                    problem = error.message
                if error.is_forbidden or not self.election.leads_for(REQUEST_SECONDS):
                    break
        self._problem = problem
        self._told = told

    async def _write(
        self, origin: ObjectOrigin, report: ManifestReport, manifest: FollowedManifest, sent: JsonObject | None
    ) -> _Told:
        """Write the status if the object does not show it. `sent`: the one that was sent last. Raises ApiError."""
        status, shown, calls = status_of(report), manifest.object.status, self._counts.pending(origin)
        after = rendered(
            status, before=shown, generation=manifest.object.generation, calls=calls, now=self._clock.now()
        )
        if is_told(shown, after) or (sent is not None and not calls.invocations and is_told(sent, after)):
            return _Told(report, shown, sent)
        await self._rate.admit()
        if not self.election.leads_for(REQUEST_SECONDS):
            raise ApiError(409, "another replica leads")
        await self._connection.json(
            "PATCH",
            f"{API}/namespaces/{origin.namespace}/{PLURALS[origin.kind]}/{origin.name}/status",
            body=patch(shown, after, manifest.object.version),
            content_type="application/merge-patch+json",
            timeout_seconds=REQUEST_SECONDS,
        )
        self._counts.written(origin, calls)
        event = transition(shown, status)
        if event is not None:
            self._events.append(self._event(origin, manifest, *event))
        return _Told(report, shown, after)

    async def _send_events(self) -> None:
        """Until a status is due. An Event that is lost is no reason to write a status again."""
        while self._events and not self._due.is_set():
            await self._rate.admit()
            if not self.election.leads_for(REQUEST_SECONDS):
                return
            body = self._events.popleft()
            path = f"/api/v1/namespaces/{body['metadata']['namespace']}/events"
            with suppress(ApiError):
                await self._connection.json("POST", path, body=body, timeout_seconds=REQUEST_SECONDS)

    def _event(
        self, origin: ObjectOrigin, manifest: FollowedManifest, severity: str, reason: str, message: str
    ) -> JsonObject:
        now = self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{origin.name[:200]}.", "namespace": origin.namespace},
            "involvedObject": {
                "apiVersion": "gostoa.dev/v1alpha1",
                "kind": origin.kind,
                "namespace": origin.namespace,
                "name": origin.name,
                "uid": manifest.object.uid,
                "resourceVersion": manifest.object.version,
            },
            "type": severity,
            "reason": reason,
            "message": message[:1024],
            "source": {"component": _REPORTER},
            "reportingComponent": _REPORTER,
            "reportingInstance": self._identity[:128],
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
