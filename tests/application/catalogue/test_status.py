"""The status of a manifest: what an operator reads from its phase, its conditions and their reasons."""

import pytest
from tests.application.catalogue.test_catalogue_loader import BAD, URL, many, one, rest_tool
from tests.application.catalogue.test_manifest_reports import Reports

from stoa.application.catalogue.status import MOST_TEXT, MOST_TOOLS, ManifestStatus, status_of
from stoa.application.ports.catalogue_observer import ManifestReport
from stoa.application.ports.tool_source import ManifestDocument
from stoa.domain.access.identity import TenantId
from stoa.domain.finding import Reason, error, warning
from stoa.domain.origin import FileOrigin, ObjectOrigin


def statuses(bench: Reports) -> dict[str, ManifestStatus]:
    return {origin: status_of(report) for origin, report in bench.last.items()}


def in_words(status: ManifestStatus) -> dict[str, str]:
    return {condition.type: f"{condition.status} {condition.reason}" for condition in status.conditions}


WELL = {
    "Accepted": "True Accepted",
    "ResolvedRefs": "True ResolvedRefs",
    "NameConflict": "False NoConflict",
    "Programmed": "True Programmed",
}


async def test_status_of_what_is_in_use_has_only_conditions_that_are_well():
    bench = Reports()
    bench.specs.texts = {URL: "ant bee"}
    await bench.run(a=[one("cat")], b=[many(URL)])
    tool, tool_set = statuses(bench).values()
    assert (tool.phase, in_words(tool), tool.tool_count, tool.tools) == ("Registered", WELL, 1, ("cat",))
    assert (tool_set.phase, in_words(tool_set), tool_set.tools) == ("Ready", WELL, ("ant", "bee"))
    assert all(condition.is_well for condition in tool_set.conditions)
    assert (tool.spec_hash, tool_set.spec_hash) == (None, bench.last["b#1"].spec_hash)
    assert tool.registered_at == bench.clock.now()
    assert tool.last_error is None


async def test_status_of_a_bad_manifest_names_the_field():
    bench = Reports()
    await bench.run(a=[BAD])
    (status,) = statuses(bench).values()
    message = "spec.timeout: write a duration with its unit, such as 500ms, 30s or 5m"
    assert status.phase == "Error"
    assert in_words(status) == {
        "Accepted": "False Invalid",
        "ResolvedRefs": "Unknown NotAccepted",
        "NameConflict": "False NoConflict",
        "Programmed": "False Invalid",
    }
    assert {status.condition("Accepted").message, status.condition("Programmed").message, status.last_error} == {
        message
    }
    assert status.registered_at is None


async def test_status_of_a_manifest_that_turned_bad_says_that_its_last_good_version_is_in_use():
    bench = Reports()
    await bench.run(a=[one("ant")])
    await bench.run(a=[one("ant", timeout="soon")])
    (status,) = statuses(bench).values()
    assert (status.phase, status.tools) == ("Error", ("ant",))
    assert (in_words(status)["Accepted"], in_words(status)["Programmed"]) == ("False Invalid", "True Invalid")


async def test_status_of_a_text_that_is_no_manifest_is_unreadable():
    bench = Reports()
    await bench.run(a=[None])
    (status,) = statuses(bench).values()
    assert (status.phase, in_words(status)["Accepted"]) == ("Error", "False Unreadable")


@pytest.mark.parametrize("texts", [{}, {URL: "<html>"}], ids=["not there", "not a description"])
async def test_status_of_a_description_that_is_not_usable_is_an_unresolved_reference(texts):
    bench = Reports()
    bench.specs.texts = texts
    await bench.run(a=[many(URL)])
    (status,) = statuses(bench).values()
    assert (status.phase, in_words(status)) == (
        "Error",
        {
            "Accepted": "True Accepted",
            "ResolvedRefs": "False InvalidReference",
            "NameConflict": "False NoConflict",
            "Programmed": "False InvalidReference",
        },
    )
    assert URL in status.condition("ResolvedRefs").message


async def test_status_of_a_description_that_cannot_be_reached_is_syncing_with_the_tools_still_in_use():
    bench = Reports()
    bench.specs.down = True
    await bench.run(a=[many(URL)])
    (status,) = statuses(bench).values()
    assert (status.phase, in_words(status)["Programmed"]) == ("Syncing", "False Unavailable")
    bench.specs.down, bench.specs.texts = False, {URL: "ant"}
    await bench.run()
    assert statuses(bench)["a#1"].phase == "Ready"
    bench.specs.down = True
    bench.clock.advance(3600)
    await bench.run()
    (status,) = statuses(bench).values()
    assert (status.phase, status.tools) == ("Syncing", ("ant",))
    assert (in_words(status)["ResolvedRefs"], in_words(status)["Programmed"]) == (
        "False Unavailable",
        "True Unavailable",
    )


async def test_status_of_a_name_that_another_has_is_a_conflict():
    bench = Reports()
    bench.specs.texts = {URL: "ant bee"}
    await bench.run(a=[one("ant")], b=[one("ant")], c=[many(URL)])
    winner, loser, tool_set = statuses(bench).values()
    assert in_words(winner) == WELL
    assert (loser.phase, in_words(loser)["NameConflict"], in_words(loser)["Programmed"]) == (
        "Error",
        "True NameConflict",
        "False NameConflict",
    )
    assert (tool_set.phase, tool_set.tools, in_words(tool_set)["Programmed"]) == (
        "Ready",
        ("bee",),
        "True NameConflict",
    )


async def test_status_of_an_object_that_takes_the_name_of_a_global_tool_is_a_conflict():
    bench = Reports()
    await bench.run(platform=[one("ant")])
    mine = ObjectOrigin("Tool", "tenant-acme", "ant")
    content = one("Ant")
    content["metadata"]["namespace"] = "tenant-acme"
    bench.source.put(mine, content, tenant=TenantId("acme"))
    await bench.run()
    status = statuses(bench)[str(mine)]
    assert (status.phase, in_words(status)["NameConflict"]) == ("Error", "True NameConflict")
    message = "acme/Ant: would stand in the place of the global tool ant; rename it"
    assert status.condition("NameConflict").message == message
    assert bench.registry.find(TenantId("acme"), "ant").operation.tenant is None


async def test_status_of_a_tool_that_this_gateway_cannot_run_is_unsupported():
    bench = Reports()
    bench.backend.refused = {"ant"}
    await bench.run(a=[one("ant")])
    (status,) = statuses(bench).values()
    assert (status.phase, in_words(status)["Programmed"]) == ("Error", "False Unsupported")
    assert status.last_error == "global/ant: ant cannot be called"


async def test_status_of_a_disabled_manifest_is_disabled():
    bench = Reports()
    await bench.run(a=[many(URL, enabled=False), one("ant", enabled=False)])
    for status in statuses(bench).values():
        assert (status.phase, in_words(status)["Programmed"]) == ("Disabled", "False Disabled")


async def test_status_of_a_tool_set_that_selects_nothing_says_so():
    bench = Reports()
    bench.specs.texts = {URL: ""}
    await bench.run(a=[many(URL)])
    (status,) = statuses(bench).values()
    assert (status.phase, status.tool_count, in_words(status)["Programmed"]) == ("Error", 0, "False NoTools")
    assert "no operation of the API description fits" in status.condition("Programmed").message


async def test_status_is_equal_while_nothing_changes():
    bench = Reports()
    bench.specs.texts = {URL: "ant odd"}
    await bench.run(a=[one("bee"), many(URL)], b=[BAD])
    before = statuses(bench)
    bench.clock.advance(5)
    await bench.run()
    assert statuses(bench) == before


async def test_status_lists_a_bounded_number_of_tools_and_counts_them_all():
    bench = Reports()
    names = sorted(f"t{number}" for number in range(MOST_TOOLS + 20))
    bench.specs.texts = {URL: " ".join(names)}
    await bench.run(a=[many(URL)])
    (status,) = statuses(bench).values()
    assert (status.tool_count, status.tools) == (MOST_TOOLS + 20, tuple(names[:MOST_TOOLS]))


def test_status_messages_are_bounded():
    origin = ObjectOrigin("Tool", "tenant-acme", "ant")
    findings = tuple(error("ant", "x" * 5000, origin, Reason.INVALID) for _ in range(2))
    status = status_of(ManifestReport(ManifestDocument(origin, {}), (), findings, is_current=False))
    assert status.last_error is not None
    assert len(status.last_error) == MOST_TEXT
    assert all(len(condition.message) <= MOST_TEXT for condition in status.conditions)


def test_status_with_several_left_out_operations_counts_them():
    origin = FileOrigin("a", 1)
    bench_tool = one("ant")
    findings = tuple(error(f"GET /{name}", f"{name} is wrong", origin) for name in ("a", "b", "c"))
    status = status_of(ManifestReport(ManifestDocument(origin, bench_tool), (), findings, is_current=True))
    assert status.condition("Programmed").reason == "NoTools"
    assert status.condition("Programmed").message == "GET /a: a is wrong (and 2 more)"


def test_status_of_a_manifest_in_use_tells_what_of_it_is_not_honoured():
    origin = ObjectOrigin("Tool", "tenant-acme", "ant")
    operation = rest_tool("ant")
    findings = (warning(str(origin), "tags cannot lower what its method needs", origin),)
    status = status_of(ManifestReport(ManifestDocument(origin, one("ant")), (operation,), findings, is_current=True))
    assert (status.phase, status.condition("Programmed").reason) == ("Registered", "Programmed")
    message = "In use, with a warning: tags cannot lower what its method needs"
    assert status.condition("Programmed").message == message
