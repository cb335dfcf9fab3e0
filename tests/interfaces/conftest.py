from collections.abc import Iterator
from typing import Any

import pytest
from tests.interfaces.doors import World, new_world
from werkzeug.routing import Rule

from stoa.interfaces.bootstrap import doors as bootstrap_doors


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
