"""From manifests to the callable catalogue, again and again.

A manifest file that turned bad keeps what it last gave, and says which field is wrong; a file that is gone takes its
tools along. The new catalogue replaces the old one in one step.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import ParamSpec, TypeVar

from stoa.application.catalogue.operation_registry import OperationRegistry, Prepared
from stoa.application.catalogue.owners import ambiguous_namespaces, owned, owned_content
from stoa.application.concurrency.pace import Pace, keep_what_stays, let_go, making_what_stays
from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.manifests.parse import ManifestParts, ToolSetManifest
from stoa.application.manifests.spec_kinds import SpecKinds
from stoa.application.manifests.understand import converted, understood, understood_each
from stoa.application.memory.bounded_executor import InThreadExecutor
from stoa.application.ports.bounded_executor import BoundedExecutor
from stoa.application.ports.clock import Clock
from stoa.application.ports.health import Health, HealthProbe
from stoa.application.ports.manifest_parts import BindingManifest
from stoa.application.ports.spec import SpecDocument
from stoa.application.ports.tool_source import ManifestDocument, ToolSource
from stoa.domain.errors import InvalidInput, Unavailable
from stoa.domain.finding import Finding, Severity, error, warning
from stoa.domain.operations.operation import Operation
from stoa.domain.operations.tool import Tool
from stoa.domain.schema.json_value import JsonObject

_log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

_MANY = 1000
"""Operations from which on the garbage collector is kept away from them."""
_AT_ONCE = 64
"""Manifests of a file that are understood in one run of the executor: ten thousand runs take as long as the work
itself, and what their results have in common is then held ten thousand times."""
_FEW = 8
"""Manifests that have a run each, which says what is wrong with a refused one."""
RETRY_SECONDS = 30.0
"""A description that could not be fetched is tried again this soon."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What one manifest gave when it was last good."""

    document: ManifestDocument
    operations: tuple[Operation, ...]
    findings: tuple[Finding, ...]
    refresh_at_ns: int | None
    """When its description is fetched again; None: whenever the catalogue is refreshed."""
    outage: tuple[Finding, ...] = ()
    """Why it could not be fetched again the last time."""
    manifest: ToolSetManifest | None = None
    """Of a tool set whose description is elsewhere, and may change without it."""
    digest: str = ""
    """SHA-256 of the description it was converted from; an unchanged one is not converted again."""
    url: str | None = None
    """Where its description was fetched from, if that decides where calls go; None: the manifest does."""
    origins: frozenset[str] = frozenset()
    """Where such a description sends calls, or would."""

    def put_off(self, now_ns: int) -> "_Loaded":
        """The same, not due before RETRY_SECONDS: what cannot be renewed now must not be tried without pause."""
        return replace(self, refresh_at_ns=max(self.refresh_at_ns or 0, now_ns + int(RETRY_SECONDS * 1e9)))


@dataclass(frozen=True, slots=True)
class _Refused:
    """What was wrong with a manifest, and with its description where `digest` names one: to look at the same again may
    take all that the executor allows, and other manifests wait."""

    document: ManifestDocument
    digest: str
    reason: str


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
        lowering: Collection[str] = (),
        report: ReportDefect = log_defect,
    ) -> None:
        """`bindings`: the members of a Tool's `spec` that back ends define. `lowering`: tenants whose
        tags and hints may ask for less than their method."""
        self._report_defect = report
        self._sources = tuple(sources)
        self._specs = specs
        self._parts = ManifestParts(bindings or {}, specs.models)
        self._registry = registry
        self._executor = executor or InThreadExecutor()
        self._clock = clock
        self._lowering = frozenset(lowering)
        self._good: dict[str, _Loaded] = {}
        self._refused: dict[str, _Refused] = {}
        self._registered: list[Operation] = []
        self._is_loaded = False
        self._has_watched = False
        self._retry_soon = False
        self._one_at_a_time = asyncio.Lock()
        self.findings: tuple[Finding, ...] = ()

    async def execute(self) -> tuple[Finding, ...]:
        """Refresh once; returns the present findings. Never raises for a bad manifest."""
        async with self._one_at_a_time:  # else one that read earlier could publish later
            return await self._refresh()

    async def _refresh(self) -> tuple[Finding, ...]:
        self._retry_soon = False
        try:
            files = await self._files()
        except Unavailable as failure:
            self._retry_soon = True
            return self._told([error("catalogue", f"{failure.message}; trying again in {RETRY_SECONDS:g} s")])
        good: dict[str, _Loaded] = {}
        findings: list[Finding] = []
        before: dict[str, dict[str, _Loaded]] = {}
        for origin, known in self._good.items():
            before.setdefault(_file_of(origin), {})[origin] = known
        for file, documents in files.items():
            loaded, problems = await self._load_file(documents, findings)
            if problems and (previous := self._put_off(before.get(file, {}))):
                good.update(previous)
                problems.append(warning(file, "the last good version stays in use"))
            else:
                good.update(loaded)
            findings += problems
        replaced = list(self._good.values())
        self._good = good
        present = {document.origin for documents in files.values() for document in documents}
        self._refused = {origin: refused for origin, refused in self._refused.items() if origin in present}
        findings += self._ambiguous().values()
        findings += [finding for loaded in good.values() for finding in (*loaded.findings, *loaded.outage)]
        findings += await self._publish_in_background()
        self._is_loaded = True
        before.clear()
        await asyncio.to_thread(let_go, replaced)
        return self._told(findings)

    async def _files(self) -> dict[str, list[ManifestDocument]]:
        """All documents, by the file they stand in. Raises Unavailable."""
        files: dict[str, list[ManifestDocument]] = {}
        for source in self._sources:
            for document in await source.read():
                files.setdefault(_file_of(document.origin), []).append(document)
        return files

    def register(self, operations: Iterable[Operation]) -> list[Finding]:
        """Add tools, resources and prompts that the embedding program made itself; they stay until the process ends."""
        added = tuple(operations)
        self._registered += added
        findings = self._registry.add(added)
        return self._registry.replace(self._all()) if findings is None else findings

    def operations_of(self, origin: str) -> tuple[Operation, ...]:
        """What the manifest of this origin gave when it was last good."""
        loaded = self._good.get(origin)
        return () if loaded is None else loaded.operations

    async def _publish_in_background(self) -> list[Finding]:
        """Compiles in a thread, swaps in the loop; once more when `register` came in between."""
        while True:
            version = self._registry.version
            prepared = await asyncio.to_thread(self._prepared)
            if self._registry.version == version:
                findings = self._registry.adopt(prepared)
                await asyncio.to_thread(let_go, prepared.replaced)
                return findings

    def _prepared(self) -> Prepared:
        operations = self._all()
        with making_what_stays() if len(operations) > _MANY else nullcontext():
            return self._registry.prepare(operations, Pace())

    def _all(self) -> list[Operation]:
        refused = self._ambiguous()
        good = (loaded.operations for origin, loaded in self._good.items() if origin not in refused)
        return list(chain(self._registered, *good))

    def _ambiguous(self) -> Mapping[str, Finding]:
        """Looked for among what is in use, not in a file, so that it does not matter which was read first."""
        return ambiguous_namespaces(loaded.document for loaded in self._good.values())

    async def watch(self) -> None:
        """Refresh whenever a source changes or a description is due; runs until cancelled. `execute` comes first.

        A source that can no longer be followed, or a refresh that failed, ends it, for a Supervisor to start again: it
        then begins with a refresh, for it may have missed a change.
        """
        changed = asyncio.Event()
        if self._has_watched:
            changed.set()
        self._has_watched = True
        async with asyncio.TaskGroup() as followers:
            for source in self._sources:
                followers.create_task(_follow(source, changed))
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._seconds_until_due()):
                        await changed.wait()
                changed.clear()
                await self.execute()

    def health(self) -> Health:
        if not self._is_loaded:
            return Health(False, "not loaded yet")
        detail = f"{len(self._registry.catalogue.tools)} tools from {len(self._good)} manifests"
        return Health(True, detail, tuple(map(str, self.findings)))

    def _put_off(self, previous: Mapping[str, _Loaded]) -> dict[str, _Loaded]:
        now = self._clock.monotonic_ns()
        return {
            origin: loaded if loaded.refresh_at_ns is None else loaded.put_off(now)
            for origin, loaded in previous.items()
        }

    async def _load_file(
        self, documents: Sequence[ManifestDocument], outages: list[Finding]
    ) -> tuple[dict[str, _Loaded], list[Finding]]:
        """What the file's manifests give, and what is wrong in them. A description that cannot be had just now is no
        fault of the file: it goes to `outages`, and its manifest keeps what it gave before."""
        loaded: dict[str, _Loaded] = {}
        problems: list[Finding] = []
        async for document, understood_ahead in self._ahead(documents):
            if document.content is None:
                problems.append(error(document.origin, document.problem))
                continue
            try:
                loaded[document.origin] = await self._load(document, understood_ahead)
            except InvalidInput as refused:
                problems.append(error(document.origin, refused.message))
            except Exception as failure:  # noqa: BLE001  # a defect with one manifest must not keep all others back
                outage = error(document.origin, f"{self._reason(failure)}; trying again in {RETRY_SECONDS:g} s")
                if known := self._good.get(document.origin):
                    later = known.put_off(self._clock.monotonic_ns())
                    loaded[document.origin] = replace(later, outage=(outage,))
                else:
                    self._retry_soon = True
                    outages.append(outage)
        return loaded, problems

    async def _ahead(
        self, documents: Sequence[ManifestDocument]
    ) -> AsyncIterator[tuple[ManifestDocument, Operation | ToolSetManifest | None]]:
        """Each document, with what it was understood as if that is known already."""
        for start in range(0, len(documents), _AT_ONCE):
            part = documents[start : start + _AT_ONCE]
            ahead = await self._understood_together([one for one in part if self._is_new(one)])
            for document in part:
                yield document, ahead.get(document.origin)
            await asyncio.sleep(0)  # where all are known, nothing else lets calls go on
            if ahead and len(documents) > _MANY:
                keep_what_stays()

    def _is_new(self, document: ManifestDocument) -> bool:
        seen = self._good.get(document.origin) or self._refused.get(document.origin)
        return document.content is not None and (seen is None or seen.document != document)

    async def _understood_together(
        self, documents: Sequence[ManifestDocument]
    ) -> dict[str, Operation | ToolSetManifest | None]:
        """By origin. What is missing is for `_load` to find out: together they may have taken more than one run may."""
        contents: dict[str, JsonObject] = {}
        for document in documents:
            with suppress(InvalidInput):
                contents[document.origin] = owned_content(document)
        if len(contents) <= _FEW:
            return {}
        try:
            results = await self._executor.run(understood_each, list(contents.values()), self._parts)
        except Exception:  # noqa: BLE001  # `_load` meets it again, with the one manifest that is to blame
            return {}
        return dict(zip(contents, results, strict=True))

    def _reason(self, failure: Exception) -> str:
        if isinstance(failure, Unavailable):
            return failure.message
        self._report_defect("catalogue", failure)
        return f"an unexpected {type(failure).__name__}, which the log explains"

    async def _load(
        self, document: ManifestDocument, understood_ahead: Operation | ToolSetManifest | None = None
    ) -> _Loaded:
        known = self._good.get(document.origin)
        if known is not None and known.document != document:
            known = None
        if known is not None and known.manifest is None:
            return known
        now = self._clock.monotonic_ns()
        if known is not None and known.refresh_at_ns is not None and now < known.refresh_at_ns:
            return known
        manifest = None if known is None else known.manifest
        if manifest is None:
            asked = understood_ahead
            if asked is None:
                (asked,) = await self._run(document, "", understood, owned_content(document), self._parts)
            if isinstance(asked, Operation):
                return _Loaded(document, *owned([asked], document, self._lowering), None)
            manifest = asked
        if not manifest.spec.enabled:
            return _Loaded(document, (), (), None)
        return await self._load_set(document, manifest, known)

    async def _load_set(self, document: ManifestDocument, manifest: ToolSetManifest, known: _Loaded | None) -> _Loaded:
        source, kind = manifest.source, self._specs[manifest.member]
        now = self._clock.monotonic_ns()
        description = await kind.fetch(source, self._specs.place_of(document, manifest))
        due = now + int(source.refresh_interval * 1e9) if source.is_remote else None
        digest = await asyncio.to_thread(_digest_of, description)
        if known is not None and known.digest == digest:
            return replace(known, refresh_at_ns=due, outage=())
        parts = await self._run(document, digest, converted, kind.converter(source), description, manifest)
        made = [part for part in parts if isinstance(part, Operation)]
        url = source.address if source.is_remote and manifest.spec.base_url is None else None
        origins = frozenset[str]() if url is None else _origins(parts)
        before = self._good.get(document.origin)
        if before is not None and before.url == url and origins - before.origins:
            return replace(before, refresh_at_ns=due, outage=(_held_back(document, origins - before.origins),))
        operations, on_access = await asyncio.to_thread(owned, made, document, self._lowering)
        findings = (*(part for part in parts if isinstance(part, Finding)), *on_access)
        has_tools = any(isinstance(one, Tool) for one in operations)
        if not has_tools and not any(finding.severity is Severity.ERROR for finding in findings):
            unfit = (
                "no operation of the API description fits, so there are no tools; check methods, tags and pathPrefix"
            )
            findings = (*findings, warning(f"{document.origin}: spec.selector", unfit))
        elsewhere = None if source.address is None else manifest
        return _Loaded(document, operations, findings, due, manifest=elsewhere, digest=digest, url=url, origins=origins)

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

    def _told(self, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        """Makes them the present findings, and logs those that are new."""
        before = {(one.severity, one.where, one.message) for one in self.findings}
        for finding in findings:
            if (finding.severity, finding.where, finding.message) not in before:
                level = logging.ERROR if finding.severity is Severity.ERROR else logging.WARNING
                _log.log(level, "catalogue: %s: %s", finding.where, finding.message)
        self.findings = tuple(findings)
        return self.findings


def _origins(parts: Iterable[Operation | Finding | frozenset[str]]) -> frozenset[str]:
    origins: set[str] = set()
    for part in parts:
        if isinstance(part, frozenset):
            origins |= part
        elif isinstance(part, Tool):
            origins |= part.binding.origins
    return frozenset(origins)


def _held_back(document: ManifestDocument, origins: Collection[str]) -> Finding:
    message = (
        f"the description now sends calls to {', '.join(sorted(origins)[:3])}; what it gave before stays in use until "
        "the manifest says that this is meant: set spec.baseURL"
    )
    return error(document.origin, message)


def _digest_of(description: SpecDocument) -> str:
    text = f"{description.location}\n{description.text}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _file_of(origin: str) -> str:
    return origin.partition("#")[0]


async def _follow(source: ToolSource, changed: asyncio.Event) -> None:
    async for _ in source.changes():
        changed.set()
