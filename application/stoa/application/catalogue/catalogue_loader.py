"""From manifests to the callable catalogue, again and again.

A manifest file that turned bad keeps what it last gave, and says which field is wrong; a file that is gone takes its
tools along. The new catalogue replaces the old one in one step.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from operator import is_
from typing import ParamSpec, TypeVar

from stoa.application.catalogue.catalogue_budget import CatalogueBudget
from stoa.application.catalogue.catalogue_publisher import CataloguePublisher
from stoa.application.catalogue.earlier_names import without_earlier_names
from stoa.application.catalogue.held_changes import PendingChanges, approval_key, changes_between, held_back
from stoa.application.catalogue.loaded_manifest import LoadedManifest, reports_of
from stoa.application.catalogue.missing_credentials import MissingCredentials
from stoa.application.catalogue.operation_registry import OperationRegistry, Prepared
from stoa.application.catalogue.operation_sources import OperationSources
from stoa.application.catalogue.owners import ambiguous_namespaces, owned, owned_content
from stoa.application.catalogue.understood_ahead import UnderstoodAhead
from stoa.application.concurrency.gather import in_order
from stoa.application.concurrency.pace import in_turns, let_go, paced, yielding_to_the_loop
from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.manifests.parse import ManifestParts, ToolSetManifest
from stoa.application.manifests.spec_kinds import SpecKinds
from stoa.application.manifests.understand import converted, understood
from stoa.application.memory.approvals import InMemoryApprovals
from stoa.application.memory.bounded_executor import InThreadExecutor
from stoa.application.ports.approvals import Approvals
from stoa.application.ports.bounded_executor import BoundedExecutor
from stoa.application.ports.catalogue_observer import CatalogueLoad, CatalogueObserver
from stoa.application.ports.clock import Clock
from stoa.application.ports.conversion_report import ConversionReport
from stoa.application.ports.credential_source import CredentialSource
from stoa.application.ports.health import Health, HealthProbe
from stoa.application.ports.manifest_parts import BindingManifest
from stoa.application.ports.operation_source import OperationSource
from stoa.application.ports.spec import SpecDocument
from stoa.application.ports.spec_kind import ChangingSpecKind
from stoa.application.ports.token_counter import TokenCounter
from stoa.application.ports.tool_source import ManifestDocument, ToolSource
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import InvalidInput, SharedStateUnavailable, Unavailable, UpstreamAccessDenied
from stoa.domain.finding import Finding, Reason, Severity, error, warning
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.token_budget import NO_BUDGET, TokenBudget
from stoa.domain.operations.tool import Tool
from stoa.domain.operations.tool_changes import ToolChange
from stoa.domain.origin import Origin

_log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

_FILES_AT_ONCE = 4
"""Files that are loaded at a time: while the executor works on some, the results of others are taken over."""
APPROVALS_SECONDS = 5.0
"""Seconds after which approvals of other processes are looked for."""
RETRY_SECONDS = 30.0
"""A description that could not be fetched is tried again this soon."""
_RETRY = f"trying again in {RETRY_SECONDS:g} s"


@dataclass(frozen=True, slots=True)
class _Refused:
    """A refused manifest, or a refused description where `digest` names one. It is remembered, because understanding
    the same again may take all that the executor allows while other manifests wait."""

    document: ManifestDocument
    digest: str
    reason: str


class _UnusableDescription(Exception):
    """The manifest is valid, and the API description that it names is not there or not usable. Its text says why."""


@contextmanager
def _about_the_description(origin: Origin, manifest: ToolSetManifest) -> Generator[None]:
    """Errors within name the field of the manifest that refers to the description."""
    field = f"spec.{manifest.member}"
    try:
        yield
    except InvalidInput as refused:
        message = refused.message.removeprefix(f"{origin} ")
        raise _UnusableDescription(message if message.startswith(field) else f"{field}: {message}") from refused
    except Unavailable as failure:
        raise Unavailable(f"{field}: {failure.message}") from failure


class CatalogueLoader(HealthProbe):
    """Reads every source and makes the result the catalogue. `findings` tells what is wrong at present.

    Manifests are understood, and descriptions converted, by `executor`.
    """

    name = "catalogue"

    def __init__(
        self,
        *,
        sources: Sequence[ToolSource],
        specs: SpecKinds,
        registry: OperationRegistry,
        clock: Clock,
        executor: BoundedExecutor | None = None,
        bindings: Mapping[str, type[BindingManifest]] | None = None,
        operation_sources: Sequence[OperationSource] = (),
        observers: Sequence[CatalogueObserver] = (),
        lowering: Collection[str] = (),
        approvals: Approvals | None = None,
        tokens: TokenCounter | None = None,
        token_budget: TokenBudget = NO_BUDGET,
        credentials: CredentialSource | None = None,
        report: ReportDefect = log_defect,
    ) -> None:
        """`bindings`: the members of a Tool's `spec` that back ends define. `lowering`: tenants whose
        tags and hints may ask for less than their method. `approvals`: of held versions of descriptions. `tokens`:
        counts for the budgets of manifests and for `token_budget`, that of the catalogue. `credentials`: a manifest in
        Kubernetes whose calls would lack one has a finding."""
        self._report_defect = report
        self._sources = tuple(sources)
        self._specs = specs
        self._parts = ManifestParts(bindings or {}, specs.models)
        self._registry = registry
        self._tokens = tokens
        shown = CatalogueBudget(token_budget, tokens) if token_budget else None
        self.publisher = CataloguePublisher(registry, self._operations_with_origins, shown)
        self._executor = executor or InThreadExecutor()
        self._operation_sources = OperationSources(operation_sources, self._executor, report)
        self._observers = tuple(observers)
        self._missing_credentials = None if credentials is None else MissingCredentials(credentials)
        self._clock = clock
        self._lowering = frozenset(lowering)
        self._good: dict[Origin, LoadedManifest] = {}
        self._ambiguous: Mapping[Origin, Finding] = {}
        """Manifests of ambiguous namespaces. They are looked for among all that is in use, not in one file, so that it
        does not matter which was read first."""
        self._refused: dict[Origin, _Refused] = {}
        self._approvals = approvals or InMemoryApprovals()
        self._changed: set[Origin] = set()
        """Tool sets whose live server says that its description changed; it is fetched before it is due."""
        self._is_loaded = False
        self._has_watched = False
        self._retry_soon = False
        self._one_at_a_time = asyncio.Lock()
        self._last_published: tuple[int, Prepared] | None = None
        """The registry's version that it led to, and the catalogue."""
        self.findings: tuple[Finding, ...] = ()

    async def execute(self) -> tuple[Finding, ...]:
        """Refresh once; returns the present findings. Never raises for a bad manifest."""
        async with self._one_at_a_time:  # else one that read earlier could publish later
            with yielding_to_the_loop():
                return await self._refresh()

    async def _refresh(self) -> tuple[Finding, ...]:
        self._retry_soon = False
        try:
            documents_by_file = await self._documents()
        except Unavailable as failure:
            self._retry_soon = True
            return await self._told([error("catalogue", f"{failure.message}; {_RETRY}")])
        good: dict[Origin, LoadedManifest] = {}
        findings: list[Finding] = []
        before: dict[Origin, dict[Origin, LoadedManifest]] = {}
        async for origin, earlier in in_turns(self._good.items()):
            before.setdefault(origin.whole, {})[origin] = earlier
        new = [one async for one in in_turns(chain.from_iterable(documents_by_file.values())) if self._is_new(one)]
        ahead = UnderstoodAhead(self._executor, self._parts, new, self._tokens)
        unchanged: dict[Origin, dict[Origin, LoadedManifest]] = {}
        async for file, documents in in_turns(documents_by_file.items()):
            if (known := await self._unchanged(documents)) is not None:
                unchanged[file] = known
        changed = (documents for file, documents in documents_by_file.items() if file not in unchanged)
        loading = (self._load_file(documents, ahead, findings) for documents in changed)
        async with aclosing(in_order(loading, _FILES_AT_ONCE)) as results:
            async for file in in_turns(documents_by_file):
                if file in unchanged:
                    good.update(unchanged[file])
                    continue
                loaded, problems = await anext(results)
                if problems and (previous := self._put_off(before.get(file, {}))):
                    good.update(previous)
                    problems.append(warning(str(file), "the last good version stays in use", file, Reason.LAST_GOOD))
                else:
                    good.update(loaded)
                findings += problems
        ambiguous = await asyncio.to_thread(
            lambda: ambiguous_namespaces(loaded.document for loaded in paced(good.values()))
        )
        replaced = list(self._good.values())
        self._good, self._ambiguous = good, ambiguous  # together: the program may register operations at any time
        documents = list(chain.from_iterable(documents_by_file.values()))
        present = {document.origin async for document in in_turns(documents)}
        self._refused = {origin: refused for origin, refused in self._refused.items() if origin in present}
        self._changed &= present
        findings += ambiguous.values()
        findings += [finding for loaded in good.values() for finding in (*loaded.findings, *loaded.outage)]
        findings += await self._operation_sources.refresh(_RETRY)
        self._retry_soon = self._retry_soon or self._operation_sources.has_outage
        published = await self._published(has_changed=not _are_the_same(good.values(), replaced))
        findings += published.findings
        if self._missing_credentials is not None:
            findings += await self._missing_credentials.findings(good)
        self._is_loaded = True
        await self._told(findings)
        if self._observers:
            reports = await asyncio.to_thread(
                lambda: tuple(paced(reports_of(documents, good, findings, published.catalogue)))
            )
            await self._tell_observers(CatalogueLoad(self._clock.now(), reports, self.findings))
        before.clear()
        await asyncio.to_thread(let_go, replaced)
        return self.findings

    async def _published(self, *, has_changed: bool) -> Prepared:
        """The catalogue in use. It is made anew only where something changed: a tenant that writes the same bad file
        again and again must not have ten thousand tools put together each time."""
        last = self._last_published
        if last is None or has_changed or self._operation_sources.all or self._registry.version != last[0]:
            prepared = await self.publisher.publish()
            self._last_published = last = self._registry.version, prepared
        return last[1]

    async def _documents(self) -> dict[Origin, list[ManifestDocument]]:
        """All documents, by the file they stand in. Raises Unavailable."""
        documents: dict[Origin, list[ManifestDocument]] = {}
        for source in self._sources:
            async for document in in_turns(await source.read()):
                documents.setdefault(document.origin.whole, []).append(document)
        return documents

    async def _tell_observers(self, load: CatalogueLoad) -> None:
        for observer in self._observers:
            try:
                await observer.loaded(load)
            except Exception:  # noqa: BLE001  # what it does with the report is its own affair
                _log.exception("an observer of the catalogue failed")

    def operations_of(self, origin: Origin) -> tuple[Operation, ...]:
        """The operations of the manifest of this origin, in its last good version."""
        loaded = self._good.get(origin)
        return () if loaded is None else loaded.operations

    def tool_set(self, api: str, tenant: TenantId | None) -> LoadedManifest | None:
        """The ToolSet of this name and owner, in its last good version."""
        for loaded in self._good.values():
            conversion = loaded.conversion
            if conversion is not None and (conversion.api, conversion.tenant) == (api, tenant):
                return loaded
        return None

    async def approve(self, tool_set: LoadedManifest, digest: str) -> None:
        """Use the version of the ToolSet's description that is held back, in every process that shares the approvals.
        Raises InvalidInput if it is another version, or SharedStateUnavailable."""
        if tool_set.pending is None or tool_set.pending.digest != digest:
            raise InvalidInput("digest: no version with this digest is held back; ask for the changes again")
        await self._approvals.add(approval_key(tool_set.document.origin, digest))
        self._changed.add(tool_set.document.origin)
        await self.execute()

    async def take_up_approvals(self) -> bool:
        """Look for approvals that other processes took of what is held back; True if there are any. Raises
        SharedStateUnavailable."""
        waiting = [(loaded.document.origin, loaded.pending.digest) for loaded in self._good.values() if loaded.pending]
        approved = {origin for origin, digest in waiting if await self._approvals.has(approval_key(origin, digest))}
        self._changed |= approved
        return bool(approved)

    def _operations_with_origins(self) -> Iterator[tuple[Operation, Origin]]:
        """Manifests stand before sources of operations: a foreign list takes no name that a manifest uses."""
        for origin, loaded in self._good.items():
            if origin not in self._ambiguous:
                yield from ((operation, origin) for operation in loaded.operations)
        yield from self._operation_sources.operations()

    async def watch(self) -> None:
        """Refresh whenever a source changes or a description is due; runs until cancelled. `execute` comes first.

        A source that can no longer be followed, or a refresh that failed, ends it, for a Supervisor to start again: it
        then begins with a refresh, for it may have missed a change.
        """
        changed = asyncio.Event()
        if self._has_watched or self._operation_sources.all:  # these may have changed since they were read
            changed.set()
        self._has_watched = True
        async with asyncio.TaskGroup() as followers:
            for source in self._sources:
                followers.create_task(_follow(source, changed))
            for operation_source in self._operation_sources.all:
                followers.create_task(_follow(operation_source, changed))
            for kind in self._specs.changing:
                followers.create_task(self._follow_descriptions(kind, changed))
            followers.create_task(self._follow_approvals(changed))
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._seconds_until_due()):
                        await changed.wait()
                changed.clear()
                await self.execute()

    async def _follow_descriptions(self, kind: ChangingSpecKind, changed: asyncio.Event) -> None:
        async for origin in kind.changed_places():
            self._changed.add(origin)
            changed.set()

    async def _follow_approvals(self, changed: asyncio.Event) -> None:
        while True:
            await asyncio.sleep(APPROVALS_SECONDS)
            with suppress(SharedStateUnavailable):  # asked again the next time
                if await self.take_up_approvals():
                    changed.set()

    def health(self) -> Health:
        if not self._is_loaded:
            return Health(False, "not loaded yet")
        detail = f"{len(self._registry.catalogue.tools)} tools from {len(self._good)} manifests"
        return Health(True, detail, tuple(map(str, self.findings)))

    def _put_off(self, previous: Mapping[Origin, LoadedManifest]) -> dict[Origin, LoadedManifest]:
        retry_at = self._retry_at_ns()
        return {
            origin: loaded if loaded.refresh_at_ns is None else loaded.put_off(retry_at)
            for origin, loaded in previous.items()
        }

    def _retry_at_ns(self) -> int:
        return self._clock.monotonic_ns() + int(RETRY_SECONDS * 1e9)

    async def _load_file(
        self, documents: Sequence[ManifestDocument], ahead: UnderstoodAhead, outages: list[Finding]
    ) -> tuple[dict[Origin, LoadedManifest], list[Finding]]:
        """The loaded manifests of one file, and the problems of the others. A description that cannot be fetched now is
        no problem of the file: its finding goes to `outages`, and its manifest keeps its operations."""
        loaded: dict[Origin, LoadedManifest] = {}
        problems: list[Finding] = []
        async for document in in_turns(documents):
            if document.content is None:
                problems.append(error(str(document.origin), document.problem, document.origin, Reason.UNREADABLE))
                continue
            try:
                loaded[document.origin] = await self._load(document, await ahead.take(document))
            except InvalidInput as refused:
                problems.append(error(str(document.origin), refused.message, document.origin, Reason.INVALID))
            except _UnusableDescription as refused:
                problems.append(error(str(document.origin), str(refused), document.origin, Reason.REFERENCE))
            except Exception as failure:  # noqa: BLE001  # a defect with one manifest must not keep all others back
                origin = document.origin
                outage = error(str(origin), f"{self._reason(failure)}; {_RETRY}", origin, Reason.UNAVAILABLE)
                if known := self._good.get(origin):
                    # Not when it would have been due: the server, or a changed manifest, asked for it earlier.
                    loaded[origin] = replace(known, refresh_at_ns=self._retry_at_ns(), outage=(outage,))
                else:
                    self._retry_soon = True
                    outages.append(outage)
        return loaded, problems

    async def _unchanged(self, documents: Sequence[ManifestDocument]) -> dict[Origin, LoadedManifest] | None:
        """The loaded manifests of a file whose documents are the very same as before, if no description is due."""
        loaded: dict[Origin, LoadedManifest] = {}
        async for document in in_turns(documents):
            known = self._good.get(document.origin)
            if known is not None and known.document is document and self._is_current(known):
                loaded[document.origin] = known
        return loaded if len(loaded) == len(documents) else None

    def _is_current(self, known: LoadedManifest) -> bool:
        """True if there is nothing to fetch again."""
        if known.manifest is None:
            return True
        is_settled = known.refresh_at_ns is None and known.pending is None and not known.outage
        return is_settled and known.document.origin not in self._changed and self._specs.are_current(known.versions)

    def _is_new(self, document: ManifestDocument) -> bool:
        seen = self._good.get(document.origin) or self._refused.get(document.origin)
        return document.content is not None and (seen is None or seen.document != document)

    def _reason(self, failure: Exception) -> str:
        if isinstance(failure, (Unavailable, UpstreamAccessDenied)):
            return failure.message
        self._report_defect("catalogue", failure)
        return f"an unexpected {type(failure).__name__}, which the log explains"

    async def _load(
        self, document: ManifestDocument, understood_ahead: Operation | ToolSetManifest | None = None
    ) -> LoadedManifest:
        known = self._good.get(document.origin)
        if known is not None and known.document != document:
            known = None
        if known is not None and known.manifest is None:
            return known
        now = self._clock.monotonic_ns()
        is_due = document.origin in self._changed
        if known is not None and known.refresh_at_ns is not None and now < known.refresh_at_ns and not is_due:
            return known
        manifest = None if known is None else known.manifest
        if manifest is None:
            asked = understood_ahead
            if asked is None:
                (asked,) = await self._run(document, "", understood, owned_content(document), self._parts, self._tokens)
            if isinstance(asked, Operation):
                return LoadedManifest(document, *owned([asked], document, self._lowering), self._clock.now())
            manifest = asked
        if not manifest.spec.enabled:
            return LoadedManifest(document, (), (), self._clock.now())
        return await self._load_set(document, manifest, known)

    async def _load_set(
        self, document: ManifestDocument, manifest: ToolSetManifest, known: LoadedManifest | None
    ) -> LoadedManifest:
        source, kind = manifest.source, self._specs[manifest.member]
        self._changed.discard(document.origin)  # before the description is fetched: it may change while it is
        now = self._clock.monotonic_ns()
        with _about_the_description(document.origin, manifest):
            versions: dict[str, str] = {}
            description = await kind.fetch(source, self._specs.place_of(document, manifest, versions))
        due = now + int(source.refresh_interval * 1e9) if source.is_remote else None
        if known is not None and description.version and known.version == description.version:
            digest = known.digest
        else:
            digest = await asyncio.to_thread(_digest_of, description)
        if known is not None and known.digest == digest:
            operations = known.operations if due is None else without_earlier_names(known.operations)
            return replace(
                known,
                operations=operations,
                refresh_at_ns=due,
                outage=(),
                pending=None,
                version=description.version,
                versions=versions,
            )
        before = self._good.get(document.origin)
        is_approved = manifest.spec.changes.approved == digest
        if before is not None and manifest.spec.changes.hold_back and not is_approved:
            is_approved = await self._approvals.has(approval_key(document.origin, digest))
        if known is not None and known.pending is not None and known.pending.digest == digest and not is_approved:
            return replace(known, refresh_at_ns=due)
        with _about_the_description(document.origin, manifest):
            converter = kind.converter(source)
            parts = await self._run(document, digest, converted, converter, description, manifest, self._tokens)
        made = [part for part in parts if isinstance(part, Operation)]
        url = source.address if source.is_remote and manifest.spec.base_url is None else None
        origins = frozenset[str]() if url is None else _origins(parts)
        if before is not None:
            made = list(without_earlier_names(made))
        if before is not None and before.url == url and origins - before.origins:
            return replace(before, refresh_at_ns=due, outage=(_other_origins(document, origins - before.origins),))
        operations, on_access = await asyncio.to_thread(owned, made, document, self._lowering)
        changes: tuple[ToolChange, ...] = ()
        if before is not None and before.digest not in {"", digest}:
            changes = await asyncio.to_thread(changes_between, before.operations, operations)
            held = held_back(document, digest, changes, manifest.spec.changes.hold_back)
            if (
                held is not None and not is_approved and source.address is not None
            ):  # text in a manifest is its author's
                return replace(before, refresh_at_ns=due, outage=(held,), pending=PendingChanges(digest, changes))
        findings = (*(part.about(document.origin) for part in parts if isinstance(part, Finding)), *on_access)
        has_any = len(operations) > 1  # one is the description itself
        if not has_any and not any(finding.severity is Severity.ERROR for finding in findings):
            unfit = (
                "no operation of the API description fits, so there are no tools; check methods, tags and pathPrefix"
            )
            findings = (*findings, warning(f"{document.origin}: spec.selector", unfit, document.origin))
        elsewhere = None if source.address is None else manifest
        return LoadedManifest(
            document,
            operations,
            findings,
            self._clock.now(),
            due,
            manifest=elsewhere,
            digest=digest,
            version=description.version,
            versions=versions,
            url=url,
            origins=origins,
            changes=changes,
            conversion=next((part for part in parts if isinstance(part, ConversionReport)), None),
        )

    async def _run(
        self,
        document: ManifestDocument,
        digest: str,
        function: Callable[P, Iterable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> list[T]:
        """As the executor does; what it refused once is not tried again."""
        refused = self._refused.get(document.origin)
        if refused is not None and refused.digest == digest and refused.document == document:
            raise InvalidInput(refused.reason)
        try:
            return await self._executor.run(function, *args, **kwargs)
        except InvalidInput as problem:
            self._refused[document.origin] = _Refused(document, digest, problem.message)
            raise

    def _seconds_until_due(self) -> float | None:
        due = [loaded.refresh_at_ns for loaded in self._good.values() if loaded.refresh_at_ns is not None]
        waits = [max(0.0, (moment - self._clock.monotonic_ns()) / 1e9) for moment in due]
        return min([*waits, RETRY_SECONDS] if self._retry_soon else waits, default=None)

    async def _told(self, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        """Makes them the present findings, and logs those that are new."""
        before = {(one.severity, one.where, one.message) async for one in in_turns(self.findings)}
        async for finding in in_turns(findings):
            if (finding.severity, finding.where, finding.message) not in before:
                level = logging.ERROR if finding.severity is Severity.ERROR else logging.WARNING
                _log.log(level, "catalogue: %s: %s", finding.where, finding.message)
        self.findings = tuple(findings)
        return self.findings


def _are_the_same(some: Collection[object], others: Collection[object]) -> bool:
    """True if both hold the same objects in the same order."""
    return len(some) == len(others) and all(map(is_, some, others))


def _origins(parts: Iterable[object]) -> frozenset[str]:
    origins: set[str] = set()
    for part in parts:
        if isinstance(part, frozenset):
            origins |= part
        elif isinstance(part, Tool):
            origins |= part.binding.origins
    return frozenset(origins)


def _other_origins(document: ManifestDocument, origins: Collection[str]) -> Finding:
    message = (
        f"the description now sends calls to {', '.join(sorted(origins)[:3])}; what it gave before stays in use until "
        "the manifest says that this is meant: set spec.baseURL"
    )
    return error(str(document.origin), message, document.origin, Reason.ORIGIN)


def _digest_of(description: SpecDocument) -> str:
    digest = hashlib.sha256(f"{description.location}\n".encode("utf-8", "surrogatepass"))
    digest.update(description.text.encode("utf-8", "surrogatepass"))
    for file in description.files:
        digest.update(f"\n{file.name}\n{file.problem}\n{file.text}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


async def _follow(source: ToolSource | OperationSource, changed: asyncio.Event) -> None:
    async for _ in source.changes():
        changed.set()
