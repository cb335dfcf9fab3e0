"""This project as a plug-in of the two programs that judge converters: what `tools/list` shows, and what `tools/call`
sends through a whole gateway in this process."""

import asyncio
import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stoa.application.gateway import Gateway
from stoa.application.memory.credential_source import InMemoryCredentialSource
from stoa.application.ports.spec import ConversionOptions, SpecDocument
from stoa.domain.access.caller_limits import CallerLimits
from stoa.domain.access.identity import PLATFORM_ROLE, Principal
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.operations.tool import RestBinding, Tool
from stoa.infrastructure.openapi import OpenApiConverter
from stoa.infrastructure.openapi.spec_kind import OpenApiSpecKind
from stoa.infrastructure.rest.backend import RestBackend
from stoa.interfaces.wire import shaping
from stoa.interfaces.wire.revisions import NEWEST

VERSION = f"stoa-mcp-gateway {version('stoa-mcp-gateway')}"
_UNLIMITED = RateLimit(requests_per_minute=10_000_000, burst=1_000_000)
_CALLER = Principal.of("converter-score", roles=[PLATFORM_ROLE])
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
logging.disable(logging.CRITICAL)  # the programs tell what goes wrong


class Refused(Exception):
    """The gateway answered with an error before it called the API, or the API's answer was one."""


class session:  # noqa: N801  # the name that roundtrip.py asks for
    """`.tools` as `tools/list` shows them, each with the method and the path of its operation, and `.call`."""

    def __init__(self, spec_path: str, base_url: str) -> None:
        from converter_score import load_spec, operations

        self._loop = asyncio.new_event_loop()
        self.gateway = Gateway(
            spec_kinds=[OpenApiSpecKind()],
            backends=[RestBackend(InMemoryCredentialSource())],
            limits=CallerLimits(roles={PLATFORM_ROLE: _UNLIMITED}),
        )
        text = Path(spec_path).read_text("utf-8")
        self.findings = self.gateway.add_openapi(text, location=spec_path, options=ConversionOptions(base_url=base_url))
        paths = _Paths(operations(load_spec(spec_path)))
        self.tools = [_listed(tool, paths) for tool in self.gateway.catalogue.tools.values() if tool.api is not None]

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        outcome = self._loop.run_until_complete(self.gateway.invoke(name, arguments, _CALLER))
        if outcome.error is not None:
            raise Refused(f"{outcome.error.code}: {outcome.error.message}")
        return outcome.result


def convert(spec_path: str) -> list[dict[str, Any]]:
    from converter_score import load_spec, operations

    options = ConversionOptions(base_url="http://127.0.0.1:9")
    conversion = OpenApiConverter().convert(_document(spec_path), options)
    paths = _Paths(operations(load_spec(spec_path)))
    return [_listed(tool, paths) for tool in conversion.tools]


def examples(spec_path: str) -> tuple[int, list[str]]:
    """The document's own request examples: how many there are, and those that are refused."""
    options = ConversionOptions(base_url="http://127.0.0.1:9", tries_examples=True)
    tried = OpenApiConverter().convert(_document(spec_path), options).examples
    return len(tried), [
        f"{example.operation} {example.example}: {example.refusal}" for example in tried if example.refusal is not None
    ]


def wire_names(spec_path: str) -> dict[str, str]:
    """Names of the API by those of arguments that are called otherwise, which a decoder cannot know."""
    names: dict[str, str] = {}
    for tool in (
        OpenApiConverter().convert(_document(spec_path), ConversionOptions(base_url="http://127.0.0.1:9")).tools
    ):
        if isinstance(tool.binding, RestBinding):
            names |= {bound.argument: bound.name for bound in tool.binding.parameters}
            names |= dict(tool.binding.body.fields or {}) if tool.binding.body is not None else {}
    return {name: wire_name for name, wire_name in names.items() if name != wire_name}


def _document(spec_path: str) -> SpecDocument:
    return SpecDocument(spec_path, Path(spec_path).read_text("utf-8"))


class _Paths:
    """The paths of a document by what a tool tells of its operation."""

    def __init__(self, operations: Iterator[tuple[str, str, Any, Any]]) -> None:
        self._by_shape: dict[tuple[str, str], list[tuple[str, Any]]] = defaultdict(list)
        for method, path, _, operation in operations:
            self._by_shape[method.upper(), _shape(path)].append((path, operation.get("operationId")))

    def of(self, tool: Tool) -> str:
        assert isinstance(tool.binding, RestBinding)
        candidates = self._by_shape[tool.binding.method.upper(), _shape(tool.binding.path)]
        exact = [path for path, _ in candidates if path == tool.binding.path]
        by_id = [
            path for path, identifier in candidates if tool.api is not None and identifier == tool.api.operation_id
        ]
        # Box tells operations of one path apart by its fragment, which is not sent: only the id tells which is meant.
        return next(iter([*by_id, *exact, *(path for path, _ in candidates), tool.binding.path]))


def _shape(path: str) -> str:
    return _PLACEHOLDER.sub("{}", re.split("[?#]", path)[0])


def _listed(tool: Tool, paths: _Paths) -> dict[str, Any]:
    assert isinstance(tool.binding, RestBinding)
    return {**shaping.tool(tool, NEWEST), "method": tool.binding.method.lower(), "path": paths.of(tool)}
