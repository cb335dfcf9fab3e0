from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from tests.interfaces import doors
from tests.interfaces.doors import World, new_world
from werkzeug.routing import Rule

from stoa.application import local_backend
from stoa.interfaces.bootstrap import doors as bootstrap_doors


@pytest.fixture(scope="session", autouse=True)
def _signatures_are_read_once() -> Iterator[None]:
    """The functions of `new_world` are made anew for each test, and look alike each time."""
    known: dict[Any, Any] = {}
    read = local_backend._Signature

    def signature(function: Any) -> Any:
        if getattr(function, "__module__", "") != doors.__name__:
            return read(function)
        if function.__code__ not in known:
            known[function.__code__] = read(function)
        again = object.__new__(read)
        vars(again).update(vars(known[function.__code__]))
        again.schema = deepcopy(again.schema)
        return again

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_backend, "_Signature", signature)
        yield


@pytest.fixture(scope="session", autouse=True)
def _routes_are_compiled_once() -> Iterator[None]:
    """Werkzeug compiles a function that builds URLs for each route of each application; nobody here builds any."""
    compiled: dict[Any, Any] = {}
    compile_builder = Rule._compile_builder

    def known(rule: Rule, append_unknown: bool = True) -> Any:
        key = (rule.rule, repr(rule.defaults), append_unknown)
        if key not in compiled:
            compiled[key] = compile_builder(rule, append_unknown)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "_compile_builder", known)
        yield


@pytest.fixture(scope="session", autouse=True)
def _gateways_leave_the_garbage_collector_alone() -> Iterator[None]:
    """What a process that only serves does once at its start would be done here for each of many in one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap_doors, "_quieten_collector", lambda: None)
        yield


@pytest.fixture
def world() -> World:
    """A gateway with one tool of each kind, and its doors."""
    return new_world()
