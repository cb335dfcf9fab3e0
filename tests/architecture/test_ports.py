"""Ports are abstract throughout, adapters say which port they are, and every error has its place on the wire."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import stoa.application
import stoa.application.memory
import stoa.application.ports
import stoa.domain.errors
import stoa.infrastructure
import stoa.testing
from stoa.domain.errors import StoaError
from stoa.interfaces.wire.errors import WIRE_ERRORS, wire_error


def modules(package: ModuleType) -> list[ModuleType]:
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [importlib.import_module(module.name) for module in found]


def classes(package: ModuleType) -> list[type[Any]]:
    """Those that are defined in the modules of a package, once each."""
    found = {
        value
        for module in modules(package)
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == module.__name__
    }
    return sorted(found, key=lambda kind: (kind.__module__, kind.__qualname__))


def own_members(port: type[Any]) -> set[str]:
    """Those of the port and of the ports that it extends."""
    names = {name for kind in port.__mro__ if kind.__module__ == port.__module__ for name in vars(kind)}
    return {name for name in names if not name.startswith("_")} | ({"__call__"} & names)


def _looks_like(kind: type[Any], port: type[Any]) -> bool:
    """Has every member of the port, with parameters of the same names."""

    def shape(owner: type[Any], name: str) -> object:
        member = inspect.getattr_static(owner, name)
        return list(inspect.signature(member).parameters) if inspect.isfunction(member) else type(member)

    members = port.__abstractmethods__
    return all(hasattr(kind, name) and shape(kind, name) == shape(port, name) for name in members)


ROOT = Path(__file__).resolve().parents[2]
PORTS = [kind for kind in classes(stoa.application.ports) if getattr(kind, "_is_protocol", False)]
ADAPTERS = [*classes(stoa.application.memory), *classes(stoa.testing), *classes(stoa.infrastructure)]


def test_there_are_ports_and_adapters_to_look_at():
    assert {"Clock", "MeteringSink", "PolicyEngine", "ToolBackend", "ToolSource"} <= {port.__name__ for port in PORTS}
    assert len(ADAPTERS) > 20


@pytest.mark.parametrize("port", PORTS, ids=lambda port: port.__name__)
def test_every_method_of_a_port_is_abstract_and_its_laws_are_written_down(port):
    assert port.__abstractmethods__ == own_members(port)
    assert port.__abstractmethods__
    assert port.__doc__


@pytest.mark.parametrize("port", PORTS, ids=lambda port: port.__name__)
def test_what_looks_like_an_adapter_inherits_its_port(port):
    lookalikes = [kind for kind in ADAPTERS if port not in kind.__mro__ and _looks_like(kind, port)]
    assert lookalikes == []


@pytest.mark.parametrize("port", PORTS, ids=lambda port: port.__name__)
def test_every_adapter_can_be_made(port):
    unfinished = [kind for kind in ADAPTERS if port in kind.__mro__ and inspect.isabstract(kind)]
    assert unfinished == []


def test_the_ports_are_exported_from_one_place():
    assert {port.__name__ for port in PORTS} <= set(stoa.application.ports.__all__)
    for package in (stoa.application, stoa.application.ports):
        assert all(hasattr(package, name) for name in package.__all__)


def _descendants(kind: type[StoaError]) -> list[type[StoaError]]:
    below = [child for child in kind.__subclasses__() if child.__module__.startswith("stoa.")]
    return below + [leaf for child in below for leaf in _descendants(child)]


def test_every_error_but_the_root_has_a_row_of_its_own_on_the_wire():
    errors = _descendants(StoaError)
    assert len(errors) > 10
    for kind in errors:
        nearest = next(base for base in kind.__mro__ if base in WIRE_ERRORS)
        assert nearest is not StoaError, f"{kind.__name__} would look like a defect of the gateway"


def test_an_unforeseen_error_is_internal():
    assert wire_error(StoaError("x")) == WIRE_ERRORS[StoaError]


def test_errors_are_declared_in_the_domain_only():
    assert {kind.__module__ for kind in _descendants(StoaError)} == {stoa.domain.errors.__name__}


def test_in_memory_adapters_that_only_tests_use_are_in_stoa_testing():
    """An adapter of `stoa.application.memory` is a default of the product, or an example's."""
    product = "".join(
        path.read_text()
        for folder in ("application", "infrastructure", "interfaces", "examples")
        for path in (ROOT / folder).rglob("*.py")
        if "stoa/testing" not in path.as_posix() and "application/memory" not in path.as_posix()
    )
    adapters = [kind for kind in classes(stoa.application.memory) if any(port in kind.__mro__ for port in PORTS)]
    unused = [kind.__name__ for kind in adapters if not re.search(rf"\b{kind.__name__}\b", product)]
    assert unused == []


def test_stoa_testing_exports_what_it_has():
    assert {kind.__name__ for kind in classes(stoa.testing) if not kind.__name__.startswith("_")} <= {
        *stoa.testing.__all__,
        "Answering",
        "IssuedToken",
    }
