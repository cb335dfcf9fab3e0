"""Reports of manifests: what each gave, by its origin, as a status writer needs it."""

from datetime import timedelta

from tests.application.catalogue.test_catalogue_loader import BAD, URL, Bench, many, one

from stoa.domain.finding import Severity
from stoa.domain.origin import FileOrigin
from stoa.testing import InMemoryCatalogueObserver


class Reports(Bench):
    def __init__(self) -> None:
        self.observer = InMemoryCatalogueObserver()
        super().__init__(observers=[self.observer])

    @property
    def last(self):
        return {str(report.document.origin): report for report in self.observer.loads[-1].manifests}

    @property
    def in_words(self):
        return {
            origin: (
                [operation.identifier for operation in report.operations],
                [str(finding) for finding in report.findings],
            )
            for origin, report in self.last.items()
        }


async def test_report_has_the_operations_and_the_findings_of_its_manifest():
    bench = Reports()
    bench.specs.texts = {URL: "ant odd"}
    await bench.run(a=[one("bee"), many(URL)], b=[BAD])
    assert bench.in_words == {
        "a#1": (["bee"], []),
        "a#2": (["ant", "odd", "stoa://apis/set"], [f"warning: {URL}: odd"]),
        "b#1": ([], ["error: b#1: spec.timeout: write a duration with its unit, such as 500ms, 30s or 5m"]),
    }
    assert {origin: report.is_current for origin, report in bench.last.items()} == {
        "a#1": True,
        "a#2": True,
        "b#1": False,
    }
    assert bench.last["b#1"].since is None


async def test_report_of_the_manifest_that_lost_a_name_has_the_finding_although_both_describe_the_same():
    bench = Reports()
    await bench.run(a=[one("ant")], b=[one("ant")])
    message = "error: global/ant: a tool of this name is registered already; rename one of them (the other is of a#1)"
    assert bench.in_words == {"a#1": (["ant"], []), "b#1": ([], [message])}
    assert bench.last["b#1"].is_current
    await bench.run(a=None)
    assert bench.in_words == {"b#1": (["ant"], [])}


async def test_report_of_an_operation_that_cannot_be_compiled_has_the_reason():
    bench = Reports()
    bench.backend.refused = {"ant"}
    await bench.run(a=[one("ant"), one("bee")])
    assert bench.in_words == {"a#1": ([], ["error: global/ant: ant cannot be called"]), "a#2": (["bee"], [])}


async def test_report_of_a_file_with_a_bad_manifest_tells_each_that_the_last_good_version_is_in_use():
    bench = Reports()
    await bench.run(a=[one("ant"), one("bee")])
    problem = (await bench.run(a=[one("ant"), BAD]))[0]
    kept = "warning: a: the last good version stays in use"
    assert bench.in_words == {"a#1": (["ant"], [kept]), "a#2": (["bee"], [problem, kept])}
    assert [report.is_current for report in bench.last.values()] == [True, False]
    await bench.run(a=[BAD])
    (first, second) = bench.last.values()
    assert ([tool.name for tool in first.operations], first.is_current) == (["ant"], False)
    assert (second.document.origin, second.is_current) == (FileOrigin("a", 2), False)
    assert [tool.name for tool in second.operations] == ["bee"]


async def test_report_of_a_description_that_cannot_be_reached_keeps_the_hash_and_the_time_of_the_one_in_use():
    bench = Reports()
    bench.specs.texts = {URL: "ant"}
    await bench.run(a=[many(URL, interval="1h")])
    before = bench.last["a#1"]
    assert before.since == bench.clock.now()
    bench.clock.advance(3600)
    bench.specs.down = True
    await bench.run()
    away = bench.last["a#1"]
    assert (away.spec_hash, away.since, away.operations) == (before.spec_hash, before.since, before.operations)
    assert (before.is_current, away.is_current) == (True, False)
    assert [finding.severity for finding in away.findings] == [Severity.ERROR]
    bench.specs.down, bench.specs.texts = False, {URL: "bee"}
    bench.clock.advance(30)
    await bench.run()
    after = bench.last["a#1"]
    assert after.spec_hash not in {None, before.spec_hash}
    assert (after.is_current, after.since - before.since) == (True, timedelta(seconds=3630))


async def test_report_is_equal_while_nothing_changes():
    bench = Reports()
    bench.specs.texts = {URL: "ant odd"}
    await bench.run(a=[one("bee"), many(URL, interval="1m")], b=[BAD])
    before = bench.last
    bench.clock.advance(60)
    await bench.run()
    assert (len(bench.specs.fetched), bench.last) == (2, before)


async def test_report_of_a_disabled_tool_set_is_current_and_has_nothing():
    bench = Reports()
    await bench.run(a=[many(URL, enabled=False), one("ant", enabled=False)])
    assert bench.in_words == {"a#1": ([], []), "a#2": ([], [])}
    assert all(report.is_current for report in bench.last.values())
