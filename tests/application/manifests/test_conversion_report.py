"""The conversion report tells of each operation what became of it."""

from tests.application.catalogue.test_catalogue_loader import rest_tool

from stoa.application.manifests.conversion_report import conversion_report
from stoa.application.ports.spec import Conversion, DescribedOperation
from stoa.domain.finding import error, warning

OPERATIONS = (
    DescribedOperation("GET /pets", "list"),
    DescribedOperation("GET /pets/{id}", "get"),
    DescribedOperation("GET /a b", "odd"),
    DescribedOperation("PUT /pets", None, "no body can be sent"),
)
TOOLS = (rest_tool("list"), rest_tool("get").model_copy(update={"earlier_names": ("got",)}), rest_tool("odd"))


def report(*findings):
    return conversion_report(Conversion(TOOLS, findings, operations=OPERATIONS), "pets.yaml", api="pets")


def test_report_gives_each_finding_to_its_operation_and_the_others_to_the_document():
    told = report(
        warning("pets.yaml GET /pets/{id}", "one"),
        warning("pets.yaml GET /pets/{id} query parameter q/properties/x", "two"),
        warning("pets.yaml GET /a b body", "three"),
        error("pets.yaml PUT /pets", "left out: no body can be sent"),
        warning("pets.yaml #/components/schemas/Pet", "four"),
        warning("pets.yaml", "five"),
    )
    assert [(each.outcome, [finding.message for finding in each.findings]) for each in told.operations] == [
        ("converted", []),
        ("approximated", ["one", "two"]),
        ("approximated", ["three"]),
        ("left out", ["left out: no body can be sent"]),
    ]
    assert [finding.message for finding in told.findings] == ["four", "five"]
    assert dict(told.counts) == {"converted": 1, "approximated": 2, "left out": 1}
    assert dict(told.renamed) == {"got": "get"}


def test_report_is_lossless_only_if_nothing_is_left_out_and_nothing_was_found():
    converted = Conversion(TOOLS, operations=OPERATIONS[:3])
    assert conversion_report(converted, "pets.yaml").is_lossless
    assert not report().is_lossless
    assert not conversion_report(converted, "pets.yaml", more=[warning("spec.overrides", "none")]).is_lossless


def test_report_of_a_description_without_operations_lists_its_tools():
    told = conversion_report(Conversion(TOOLS), "shop.graphql")
    assert [(each.operation, each.tool) for each in told.operations] == [
        ("list", "list"),
        ("get", "get"),
        ("odd", "odd"),
    ]
