"""The tools that can be called right now: the catalogue, with each tool's per-call work done in advance.

One attribute holds the whole state, so a reload is one assignment and no call ever sees half of it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from stoa.application.argument_schema import ArgumentSchema
from stoa.application.output_schema import OutputSchema
from stoa.application.ports.tool_backend import BackendCall, ToolBackend
from stoa.application.routed_arguments import RoutedArgument, routed_arguments
from stoa.domain.catalogue import Catalogue, CatalogueDiff
from stoa.domain.errors import InvalidInput
from stoa.domain.finding import Finding, error
from stoa.domain.identity import TenantId
from stoa.domain.tool import Tool, ToolKey


@dataclass(frozen=True, slots=True)
class RegisteredTool:
    """A tool and what was precomputed for it."""

    tool: Tool
    arguments: ArgumentSchema
    output: OutputSchema | None
    call: BackendCall
    routed: tuple[RoutedArgument, ...] = ()
    """Arguments that MCP clients repeat in headers."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    catalogue: Catalogue
    registered: Mapping[ToolKey, RegisteredTool]
    version: int
    routed_names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A catalogue that is compiled but not in use yet."""

    diff: CatalogueDiff
    snapshot: _Snapshot
    findings: list[Finding]


Listener = Callable[[CatalogueDiff], None]


class ToolRegistry:
    """Holds the current snapshot and replaces it atomically."""

    def __init__(self, backends: Iterable[ToolBackend]) -> None:
        self._backends = {backend.kind: backend for backend in backends}
        self._snapshot = _Snapshot(Catalogue({}), {}, 0)
        self._listeners: list[Listener] = []

    @property
    def catalogue(self) -> Catalogue:
        return self._snapshot.catalogue

    @property
    def version(self) -> int:
        """Changes whenever the catalogue does."""
        return self._snapshot.version

    @property
    def routed_names(self) -> frozenset[str]:
        """Names of tools, of whatever tenant, with arguments that are repeated in headers."""
        return self._snapshot.routed_names

    def find(self, tenant: TenantId | None, name: str) -> RegisteredTool | None:
        """The tool of this name in the tenant's view."""
        snapshot = self._snapshot
        tool = snapshot.catalogue.find(tenant, name)
        return None if tool is None else snapshot.registered[tool.key]

    def replace(self, tools: Iterable[Tool]) -> list[Finding]:
        """Make `tools` the whole catalogue; returns a finding for each that had to be left out."""
        return self.adopt(self.prepare(tools))

    def prepare(self, tools: Iterable[Tool]) -> Prepared:
        """Compile a catalogue without changing anything; may run in a thread.

        What cannot be compiled is not listed either: every listed tool is callable. Tools whose fingerprint did not
        change keep their compiled parts, and with them their open connections.
        """
        old = self._snapshot
        catalogue, findings = Catalogue.build(tools)
        registered: dict[ToolKey, RegisteredTool] = {}
        for key, tool in catalogue.tools.items():
            known = old.registered.get(key)
            try:
                reuse = known is not None and known.tool.fingerprint == tool.fingerprint
                registered[key] = known if known is not None and reuse else self._compile(tool)
            except InvalidInput as refused:
                findings.append(error(str(key), refused.message))
        if len(registered) < len(catalogue):
            catalogue = Catalogue({key: entry.tool for key, entry in registered.items()})
        routed_names = frozenset(key.name for key, entry in registered.items() if entry.routed)
        snapshot = _Snapshot(catalogue, registered, old.version + 1, routed_names)
        return Prepared(old.catalogue.diff(catalogue), snapshot, findings)

    def adopt(self, prepared: Prepared) -> list[Finding]:
        """Make a prepared catalogue the current one, in one step, and tell the listeners; returns its findings.
        Nothing else may have been adopted since it was prepared."""
        if prepared.diff:
            self._snapshot = prepared.snapshot
            for listener in tuple(self._listeners):  # one may end its subscription while it is told
                listener(prepared.diff)
        return prepared.findings

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` about each change, after it has happened; returns what ends the subscription."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _compile(self, tool: Tool) -> RegisteredTool:
        backend = self._backends.get(tool.binding.kind)
        if backend is None:
            raise InvalidInput(f"no back end for tools of kind {tool.binding.kind} is installed")
        output = None if tool.output_schema is None else OutputSchema(tool.name, tool.output_schema)
        routed = routed_arguments(tool.input_schema)
        return RegisteredTool(tool, ArgumentSchema(tool.input_schema), output, backend.prepare(tool), routed)
