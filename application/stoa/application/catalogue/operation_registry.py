"""The operation registry: the catalogue in use, with the per-call work of each tool, resource and prompt done in
advance.

One attribute holds the whole state, so a reload is one assignment and no call ever sees half of it.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial

import pydantic_core

from stoa.application.answers.projected_calls import with_projection
from stoa.application.backends.changed_arguments import with_changed_arguments
from stoa.application.backends.upstream_tokens import BindUpstream, UpstreamTokens
from stoa.application.catalogue.compiled_operation import (
    CompiledOperation,
    CompiledPrompt,
    CompiledResource,
    CompiledTool,
)
from stoa.application.catalogue.projecting_tool import ProjectingTool
from stoa.application.concurrency.bounded_cache import BoundedCache
from stoa.application.concurrency.pace import MANY, making_what_stays, yielding_to_the_loop
from stoa.application.ports.credential_source import CredentialSource
from stoa.application.ports.tool_backend import ToolBackend
from stoa.application.schemas.argument_schema import QUICK_BYTES
from stoa.application.schemas.output_schema import OutputSchema
from stoa.application.schemas.patterns import MAX_OWNER_SIZE, PatternAllowance
from stoa.application.schemas.routed_arguments import routed_arguments
from stoa.application.schemas.shared_schemas import SharedSchemas
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import InvalidInput
from stoa.domain.finding import Finding, Reason, error, warning
from stoa.domain.operations.catalogue import Catalogue, CatalogueDiff, OriginOf, resting
from stoa.domain.operations.client_limits import note_on_count, notes_on
from stoa.domain.operations.operation import Kind, Operation, OperationKey
from stoa.domain.operations.prompt import Prompt
from stoa.domain.operations.resource import Resource
from stoa.domain.operations.tool import Tool

_MOST_FOUND = 20_000
"""Upper bound on the remembered look-ups of one version of the catalogue."""

Allowances = Mapping[TenantId | None, PatternAllowance]


@dataclass(frozen=True, slots=True)
class _Snapshot:
    catalogue: Catalogue
    registered: Mapping[OperationKey, CompiledOperation]
    version: int
    routed: frozenset[tuple[TenantId | None, str]] = frozenset()
    tasks: frozenset[tuple[TenantId | None, str]] = frozenset()
    tools_by_owner: Mapping[TenantId | None, int] = field(default_factory=dict[TenantId | None, int])
    allowances: Allowances = field(default_factory=dict[TenantId | None, PatternAllowance])
    """Allowances for further patterns of each owner; `add` counts in them."""
    made_of: Sequence[Operation] = ()
    """The operations that it was prepared from, in their order; empty: `add` made it."""
    left_out: tuple[Finding, ...] = ()
    """Findings about those of them that had to be left out."""
    found: BoundedCache[tuple[TenantId | None, str, Kind], CompiledOperation] = field(
        default_factory=partial(BoundedCache[tuple[TenantId | None, str, Kind], CompiledOperation], _MOST_FOUND)
    )
    """Tools and prompts by the tenant and the name under which they were found."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A catalogue that is compiled but not in use yet."""

    diff: CatalogueDiff
    snapshot: _Snapshot
    findings: list[Finding]
    replaced: list[CompiledOperation] = field(default_factory=list[CompiledOperation])
    """The compiled operations that go out of use; they are freed with this list."""

    @property
    def catalogue(self) -> Catalogue:
        return self.snapshot.catalogue


Listener = Callable[[CatalogueDiff], None]


class OperationRegistry:
    """Holds the current snapshot and replaces it atomically."""

    def __init__(
        self,
        backends: Iterable[ToolBackend],
        upstream_tokens: UpstreamTokens | None = None,
        credentials: CredentialSource | None = None,
    ) -> None:
        """`credentials`: for arguments that are fixed by a secret."""
        self._credentials = credentials
        self._backends = {backend.kind: backend for backend in backends}
        self._upstream_tokens = upstream_tokens
        self._snapshot = _Snapshot(Catalogue({}), {}, 0, allowances=_allowances(()))
        self._listeners: list[Listener] = []
        self.has_routed = False
        """True if any tenant has a tool with arguments that are repeated in headers."""
        self.has_tasks = False
        """True if any tenant has a tool whose calls may become tasks."""
        self._schemas = SharedSchemas()
        self._one_at_a_time = asyncio.Lock()

    @property
    def catalogue(self) -> Catalogue:
        return self._snapshot.catalogue

    @property
    def version(self) -> int:
        """A number that changes whenever the catalogue does."""
        return self._snapshot.version

    def has_routed_arguments(self, tenant: TenantId | None, name: str) -> bool:
        """True if the tool of this name in the tenant's view has arguments that are repeated in headers. A tool of
        another tenant costs the same look-ups as none."""
        routed = self._snapshot.routed
        return (None, name) in routed or (tenant, name) in routed

    def may_become_task(self, tenant: TenantId | None, name: str) -> bool:
        """True if calls of the tool of this name may become tasks, with the same look-ups."""
        tasks = self._snapshot.tasks
        return (None, name) in tasks or (tenant, name) in tasks

    def find(self, tenant: TenantId | None, name: str, kind: Kind = "tool") -> CompiledOperation | None:
        """The operation with this name in the tenant's view; for a resource, the one that is read under this URI."""
        snapshot = self._snapshot
        if kind == "resource":
            resource = snapshot.catalogue.resolve(tenant, name)
            return None if resource is None else snapshot.registered[resource.key]
        key = (tenant, name, kind)
        compiled = snapshot.found.get(key)
        if compiled is None:  # unknown and invisible ones come here each time, so both cost the same
            operation = snapshot.catalogue.find(tenant, name, kind)
            if operation is not None:
                compiled = snapshot.registered[operation.key]
                snapshot.found.put(key, compiled)
        return compiled

    def compiled(self, key: OperationKey) -> CompiledOperation | None:
        """The operation with this key. The caller's right to see it is not checked."""
        return self._snapshot.registered.get(key)

    def replace(self, tools: Iterable[Operation]) -> list[Finding]:
        """Make `tools` the whole catalogue; returns a finding for each that had to be left out."""
        return self.adopt(self.prepare(tools))

    def prepare(
        self,
        tools: Iterable[Operation],
        rest: Callable[[], None] = lambda: None,
        origin_of: OriginOf = lambda _: None,
    ) -> Prepared:
        """Compile a catalogue without changing anything; may run in a thread. `rest` is called after each operation
        that was compared or compiled, and may sleep so that other threads get their turn. `origin_of`: for findings;
        an operation that has one was loaded, and its schemas were checked then.

        What cannot be compiled is not listed either: all that is listed is callable. Those whose fingerprint did not
        change keep their compiled parts, and with them their open connections.
        """
        given = list(resting(tools, rest))
        changed = _changed_tools(self._snapshot, given, rest)
        if changed is not None:
            with suppress(InvalidInput):  # one that cannot be compiled is left out
                return self._prepare_changed(changed, given, rest, origin_of)
        with making_what_stays() if len(given) > MANY else nullcontext():
            return self._prepare_all(given, rest, origin_of)

    def _prepare_all(self, given: Sequence[Operation], rest: Callable[[], None], origin_of: OriginOf) -> Prepared:
        old = self._snapshot
        catalogue, findings = Catalogue.build(given, origin_of, rest)
        registered: dict[OperationKey, CompiledOperation] = {}
        unchanged: dict[OperationKey, CompiledOperation] = {}
        for key, entry in old.registered.items():
            if _is_kept(entry, catalogue):
                unchanged[key] = entry
            rest()  # a fingerprint that is taken for the first time is as much work as half a compilation
        allowances = _allowances(unchanged.values())
        for key, tool in catalogue.operations.items():
            compiled = unchanged.get(key)
            try:
                if compiled is None:
                    is_checked = origin_of(tool) is not None
                    compiled = self._compile(tool, allowances[key.tenant], is_checked=is_checked)
                registered[key] = compiled
            except InvalidInput as refused:
                findings.append(error(str(key), refused.message, origin_of(tool), Reason.UNSUPPORTED))
            rest()
        if len(registered) < len(catalogue):
            catalogue = Catalogue({key: catalogue.operations[key] for key in registered})
        catalogue.index(rest)
        empty = _Snapshot(catalogue, {}, old.version, allowances=allowances)
        snapshot = _extended(empty, catalogue, registered, rest)
        snapshot = replace(snapshot, made_of=given, left_out=tuple(findings))
        findings += _notes(snapshot, registered, origin_of, rest)
        diff = old.catalogue.diff(catalogue, rest)
        return Prepared(diff, snapshot, findings, list(old.registered.values()))

    def _prepare_changed(
        self, tools: Sequence[Tool], given: Sequence[Operation], rest: Callable[[], None], origin_of: OriginOf
    ) -> Prepared:
        """The present catalogue with `tools` in the place of those of their keys: an edit of one among thousands takes
        as much work as compiling one. Raises InvalidInput if one of them cannot be compiled."""
        old = self._snapshot
        owners = {tool.tenant for tool in tools}
        copies = {owner: old.allowances[owner].copy() for owner in owners}  # the catalogue may not come into use
        allowances = defaultdict(_new_allowance, {**old.allowances, **copies})
        different = tuple(
            tool for tool in resting(tools, rest) if tool.fingerprint != old.registered[tool.key].operation.fingerprint
        )
        compiled: dict[OperationKey, CompiledOperation] = {}
        for tool in different:
            is_checked = origin_of(tool) is not None
            compiled[tool.key] = self._compile(tool, allowances[tool.tenant], is_checked=is_checked)
            rest()
        names = {(key.tenant, key.name) for key in compiled}
        without = replace(
            old,
            routed=old.routed - names,
            tasks=old.tasks - names,
            tools_by_owner=Counter(old.tools_by_owner) - Counter(key.tenant for key in resting(compiled, rest)),
            allowances=allowances,
        )
        snapshot = _extended(without, old.catalogue.with_changed(tools), compiled, rest)
        snapshot = replace(snapshot, made_of=given, left_out=old.left_out)
        findings = [*old.left_out, *_notes(snapshot, snapshot.registered, origin_of, rest)]
        return Prepared(CatalogueDiff((), different, ()), snapshot, findings, [old.registered[key] for key in compiled])

    def add(self, operations: Sequence[Operation]) -> list[Finding] | None:
        """Add `operations` to the present catalogue; returns the findings about them. Returns None and changes nothing
        if some of them contest each other or present ones, so that `replace` is needed."""
        old = self._snapshot
        catalogue = old.catalogue.extended(operations)
        if catalogue is None:
            return None
        try:
            added = {
                operation.key: self._compile(operation, old.allowances[operation.key.tenant])
                for operation in operations
            }
        except InvalidInput:
            return None
        snapshot = _extended(old, catalogue, added)
        snapshot = replace(snapshot, made_of=(*old.made_of, *operations))
        diff = CatalogueDiff(tuple(operations), (), ())
        return self.adopt(Prepared(diff, snapshot, list(_notes(snapshot, added))))

    def adopt(self, prepared: Prepared) -> list[Finding]:
        """Make a prepared catalogue the current one, in one step, and notify the listeners; returns its findings.
        Nothing else may have been adopted since it was prepared."""
        if prepared.diff:
            self._snapshot = snapshot = prepared.snapshot
            self.has_routed, self.has_tasks = bool(snapshot.routed), bool(snapshot.tasks)
            for listener in tuple(self._listeners):  # one may end its subscription while it is told
                listener(prepared.diff)
        return prepared.findings

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Notify `listener` of each change, after it has happened; returns a function that ends the subscription."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def make_ready(self, compiled: CompiledOperation) -> None:
        """Compile what a call of the operation needs, if that was left to its first call. In a thread where it takes
        long, and one at a time, so that the first calls of a hundred large tools do not keep all others waiting."""
        operation = compiled.operation
        schemas = [operation.input_schema, operation.output_schema if isinstance(operation, Tool) else None]
        if len(pydantic_core.to_json(schemas)) <= QUICK_BYTES:
            compiled.make_ready()
            return
        async with self._one_at_a_time:
            if not compiled.arguments.is_ready:
                with yielding_to_the_loop():
                    await asyncio.to_thread(compiled.make_ready)

    def _compile(self, tool: Operation, allowance: PatternAllowance, *, is_checked: bool = False) -> CompiledOperation:
        """`is_checked`: its schemas were compiled under limits already, where it was loaded."""
        backend = self._backends.get(tool.binding.kind)
        if backend is None:
            raise InvalidInput(f"no back end for tools of kind {tool.binding.kind} is installed")
        validation = tool.validation if isinstance(tool, Tool) else "strict"
        arguments = self._schemas.compiled(
            tool.tenant,
            tool.input_schema,
            allowance,
            validation=validation,
            takes_others=tool.binding.takes_others,
            is_checked=is_checked,
        )
        call, bind_upstream = backend.prepare(tool), self._bind_upstream(tool)
        match tool:
            case Tool():
                promised = tool.output_schema
                output = (
                    None if promised is None else OutputSchema(tool.name, promised, allowance, is_checked=is_checked)
                )
                routed = routed_arguments(tool.input_schema)
                notes = tuple(notes_on(tool))  # makes its portable schema too, once
                call = with_changed_arguments(call, tool, self._credentials)
                call = with_projection(call, tool)
                facts = (tool, arguments, call, bind_upstream, output, routed, notes, tool.tasks != "never")
                changes, rules = tool.argument_changes, tool.answer
                if rules.projects:
                    return ProjectingTool(
                        *facts, rules, changes=changes, quick_bytes=rules.max_characters, projects=True
                    )
                return CompiledTool(*facts, changes=changes, quick_bytes=rules.max_characters)
            case Resource():
                return CompiledResource(tool, arguments, call, bind_upstream, tool)
            case Prompt():
                return CompiledPrompt(tool, arguments, call, bind_upstream)
            case _:
                raise InvalidInput(f"{tool.key}: what is no tool, resource or prompt cannot be called")

    def _bind_upstream(self, tool: Operation) -> BindUpstream | None:
        if tool.authentication.type != "oauth2":
            return None
        if self._upstream_tokens is None:
            raise InvalidInput("authentication.type oauth2: this gateway was made without upstream_tokens")
        return self._upstream_tokens.prepare(tool)


def _extended(
    old: _Snapshot,
    catalogue: Catalogue,
    added: Mapping[OperationKey, CompiledOperation],
    rest: Callable[[], None] = lambda: None,
) -> _Snapshot:
    """The snapshot that follows from adding compiled operations to another one."""
    tools = {key: entry for key, entry in resting(added.items(), rest) if isinstance(entry, CompiledTool)}
    return _Snapshot(
        catalogue,
        {**old.registered, **added},
        old.version + 1,
        old.routed | {(key.tenant, key.name) for key, entry in resting(tools.items(), rest) if entry.routed},
        old.tasks | {(key.tenant, key.name) for key, entry in resting(tools.items(), rest) if entry.may_become_task},
        Counter(old.tools_by_owner) + Counter(key.tenant for key in resting(tools, rest)),
        old.allowances,
    )


def _is_kept(compiled: CompiledOperation, catalogue: Catalogue) -> bool:
    """True if `catalogue` holds the operation unchanged."""
    tool, before = catalogue.operations.get(compiled.operation.key), compiled.operation
    return tool is before or (tool is not None and tool.fingerprint == before.fingerprint)


def _changed_tools(old: _Snapshot, given: Sequence[Operation], rest: Callable[[], None]) -> list[Tool] | None:
    """The tools among the given operations that differ from those that the snapshot was prepared from; None where that
    is not all that changed, or may change what becomes of others."""
    if len(old.made_of) != len(given) or any(finding.reason is not Reason.NAME for finding in old.left_out):
        return None  # what could not be compiled may find room now
    changed: list[Tool] = []
    for before, now in resting(zip(old.made_of, given, strict=True), rest):
        if before is now:
            continue
        if not (isinstance(before, Tool) and isinstance(now, Tool)) or _place(before) != _place(now):
            return None
        if old.catalogue.operations.get(before.key) is not before:
            return None  # it was left out
        changed.append(now)
    return changed


def _place(tool: Tool) -> tuple[object, ...]:
    """The properties that decide if a tool contests others."""
    return tool.key, tool.enabled, tool.is_by_tenant, tool.earlier_names


def _new_allowance() -> PatternAllowance:
    return PatternAllowance(MAX_OWNER_SIZE)


def _allowances(unchanged: Iterable[CompiledOperation]) -> Allowances:
    """Allowances for further patterns of each owner, after those of the operations that stay."""
    allowances: defaultdict[TenantId | None, PatternAllowance] = defaultdict(_new_allowance)
    for registered in unchanged:
        for pattern in registered.patterns:
            allowances[registered.operation.tenant].add(pattern)
    return allowances


def _notes(
    snapshot: _Snapshot,
    entries: Mapping[OperationKey, CompiledOperation],
    origin_of: OriginOf = lambda _: None,
    rest: Callable[[], None] = lambda: None,
) -> Iterator[Finding]:
    """Warnings about limits of common clients: one for each operation that exceeds one, and one for the number of
    tools, counted for the tenant that sees most."""
    operations = snapshot.catalogue.operations  # an entry that was kept holds the operation of an earlier load
    for key, entry in resting(entries.items(), rest):
        for note in entry.notes if isinstance(entry, CompiledTool) else ():
            yield warning(str(key), note, origin_of(operations[key]))
    owned = dict(snapshot.tools_by_owner)
    shared = owned.pop(None, 0)
    tenant, own = max(owned.items(), key=lambda item: (item[1], item[0]), default=(None, 0))
    on_count = note_on_count(shared + own)
    if on_count is not None:
        yield warning(f"tenant {tenant}" if tenant else "every tenant", on_count)
