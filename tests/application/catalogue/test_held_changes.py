"""New versions of a description whose changes a ToolSet wants approved: the last good one serves meanwhile."""

import json

import pytest
from tests.application.catalogue.test_catalogue_loader import URL, Bench, many
from tests.application.pipeline import tool

from stoa.application.manifests.document_spec_kind import DocumentSpecKind
from stoa.application.memory.approvals import InMemoryApprovals
from stoa.application.ports import Approvals, Conversion, ConversionOptions, SpecConverter, SpecDocument
from stoa.domain.errors import InvalidInput

HOLD = {"changes": {"holdBack": ["removed", "added"]}}


class Paths(SpecConverter):
    """A tool for each word, at a path of its own."""

    def convert(self, document: SpecDocument, options: ConversionOptions) -> Conversion:
        made = []
        for name in document.text.strip('"').split():
            binding = {"kind": "rest", "method": "GET", "base_url": "http://127.0.0.1:9", "path": f"/{name}"}
            made.append(tool(name, tenant=options.tenant, binding=binding))
        return Conversion(tuple(made))


def apart(approvals: Approvals | None = None) -> Bench:
    return Bench(kinds=[DocumentSpecKind("openAPISpec", Paths())], approvals=approvals)


async def bench(approvals: Approvals | None = None, **spec: object) -> Bench:
    at = apart(approvals)
    at.specs.texts = {URL: "ant"}
    assert await at.run(a=[many(URL, interval="1h", **spec)]) == []
    return at


async def renewed(at: Bench, text: str) -> list[str]:
    at.specs.texts = {URL: text}
    at.clock.advance(3600)
    return await at.run()


async def test_changes_that_are_held_back_keep_the_last_good_version_until_they_are_approved():
    at = await bench(**HOLD)
    heard = []
    at.registry.subscribe(heard.append)
    (finding,) = await renewed(at, "bee")
    assert "held back" in finding
    assert "added: bee (a new operation); removed: ant" in finding
    assert (at.names, heard) == (["ant"], [])
    tool_set = at.refresh.tool_set("set", None)
    assert tool_set is not None
    assert tool_set.pending is not None
    assert tool_set.pending.digest in finding
    with pytest.raises(InvalidInput, match="no version with this digest"):
        await at.refresh.approve(tool_set, "0" * 64)
    await at.refresh.approve(tool_set, tool_set.pending.digest)
    assert (at.names, len(heard), at.refresh.findings) == (["bee"], 1, ())
    in_use = at.refresh.tool_set("set", None)
    assert in_use is not None
    assert [(change.kind, change.tool) for change in in_use.changes] == [("added", "bee"), ("removed", "ant")]


async def test_changes_that_another_process_approved_are_used_here_too():
    approvals = InMemoryApprovals()
    here, there = await bench(approvals, **HOLD), await bench(approvals, **HOLD)
    for at in (here, there):
        await renewed(at, "bee")
        assert not await at.refresh.take_up_approvals()
    tool_set = there.refresh.tool_set("set", None)
    assert tool_set is not None
    assert tool_set.pending is not None
    await there.refresh.approve(tool_set, tool_set.pending.digest)
    assert (here.names, there.names) == (["ant"], ["bee"])
    assert await here.refresh.take_up_approvals()
    assert await here.run() == []
    assert here.names == ["bee"]
    assert not await here.refresh.take_up_approvals()


async def test_changes_are_approved_by_their_digest_in_the_manifest():
    at = await bench(**HOLD)
    await renewed(at, "bee")
    tool_set = at.refresh.tool_set("set", None)
    assert tool_set is not None
    assert tool_set.pending is not None
    approved = {"changes": {**HOLD["changes"], "approved": tool_set.pending.digest}}
    assert await at.run(a=[many(URL, interval="1h", **approved)]) == []
    assert at.names == ["bee"]


async def test_changes_of_kinds_that_are_not_held_back_are_used_at_once():
    at = await bench(changes={"holdBack": ["breaking"]})
    assert await renewed(at, "ant bee") == []
    assert at.names == ["ant", "bee"]


async def test_changes_that_went_away_again_leave_nothing_to_approve():
    at = await bench(**HOLD)
    assert len(await renewed(at, "bee")) == 1
    assert await renewed(at, "ant") == []
    tool_set = at.refresh.tool_set("set", None)
    assert tool_set is not None
    assert (at.names, tool_set.pending) == (["ant"], None)


async def test_changes_of_a_version_that_is_held_back_are_looked_at_once():
    at = await bench(**HOLD)
    assert len(await renewed(at, "bee")) == len(await renewed(at, "bee")) == 1
    assert at.names == ["ant"]


async def test_changes_in_the_manifest_itself_are_its_authors():
    at = apart()
    await at.run(a=[many(inline=json.dumps("ant"), **HOLD)])
    assert await at.run(a=[many(inline=json.dumps("bee"), **HOLD)]) == []
    assert at.names == ["bee"]
