"""Calls are counted for the manifest that their operation came from, through any sequence of loads."""

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.application.pipeline import tool

from stoa.application.gateway import Gateway
from stoa.application.ports.catalogue_observer import ManifestReport
from stoa.application.ports.invocation_observer import InvocationObserver
from stoa.application.ports.tool_source import ManifestDocument
from stoa.domain.access.identity import Principal
from stoa.domain.calls.invocation import Invocation, Outcome
from stoa.domain.origin import ObjectOrigin
from stoa.infrastructure.kubernetes.status import CallCounts
from stoa.infrastructure.kubernetes.status.call_counts import Calls

NAMES = ("ant", "bee", "cow")
MANIFESTS = tuple(ObjectOrigin("ToolSet", "acme", name) for name in "xyz")
TOOLS = {name: tool(name, tenant="acme") for name in NAMES}
ADMIN = Principal.of("ada", tenant="acme", roles=["cpi-admin"])

owners = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(MANIFESTS))
"""The manifest of each tool at one load; one that is in none is gone."""


def reports(
    owner_of: Mapping[str, ObjectOrigin], before: Mapping[ObjectOrigin, ManifestReport]
) -> list[ManifestReport]:
    """Those of the manifests that have a tool. One with the same tools as before has the same tuple of them."""
    made: list[ManifestReport] = []
    for origin in sorted(set(owner_of.values()), key=str):
        operations = tuple(TOOLS[name] for name in NAMES if owner_of.get(name) == origin)
        same = before.get(origin)
        kept = same.operations if same is not None and same.operations == operations else operations
        made.append(ManifestReport(ManifestDocument(origin, {}), kept, (), is_current=True))
    return made


class _Heard(InvocationObserver):
    def __init__(self) -> None:
        self.calls: list[tuple[Invocation, Outcome]] = []

    def finished(self, invocation: Invocation, outcome: Outcome) -> None:
        self.calls.append((invocation, outcome))


@pytest.fixture(scope="module")
def calls() -> list[tuple[Invocation, Outcome]]:
    """A call of each tool, as observers hear of it."""
    heard = _Heard()

    async def call() -> None:
        gateway = Gateway(observers=[heard])
        for name in NAMES:
            gateway.tool(lambda: "ok", name=name)
            await gateway.invoke(name, {}, ADMIN)
        await gateway.close()

    asyncio.run(call())
    return heard.calls


@given(loads=st.lists(owners, min_size=1, max_size=4))
def test_calls_count_for_the_manifest_that_has_the_tool_now(
    loads: list[dict[str, ObjectOrigin]], calls: list[tuple[Invocation, Outcome]]
) -> None:
    counts = CallCounts()
    known: dict[ObjectOrigin, ManifestReport] = {}
    for owner_of in loads:
        made = reports(owner_of, known)
        known = {report.document.origin: report for report in made if isinstance(report.document.origin, ObjectOrigin)}
        asyncio.run(counts.follow(made))
        before = counts.all_pending()
        for invocation, outcome in calls:
            counts.finished(invocation, outcome)
        for origin in MANIFESTS:
            had = before.get(origin, Calls()).invocations
            assert counts.pending(origin).invocations - had == sum(owner == origin for owner in owner_of.values())
