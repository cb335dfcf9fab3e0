"""Findings are told in one line, and know which manifest they are about."""

import pickle

import pytest

from stoa.domain.finding import Finding, Severity, error, warning
from stoa.domain.origin import FileOrigin, NamedOrigin, ObjectOrigin, Origin


def test_a_finding_says_how_bad_it_is_where_and_what_to_do() -> None:
    assert str(error("pets.yaml#2 spec.timeout", "write 30s")) == "error: pets.yaml#2 spec.timeout: write 30s"
    assert str(warning("GET /pets", "is cut")) == "warning: GET /pets: is cut"
    assert error("a", "b") == Finding(severity=Severity.ERROR, where="a", message="b")
    assert warning("a", "b") == Finding(severity=Severity.WARNING, where="a", message="b")


@pytest.mark.parametrize(
    ("origin", "whole", "text"),
    [
        (FileOrigin("pets.yaml", 2), FileOrigin("pets.yaml"), "pets.yaml#2"),
        (FileOrigin("pets.yaml"), FileOrigin("pets.yaml"), "pets.yaml"),
        (
            ObjectOrigin("Tool", "acme", "pay"),
            ObjectOrigin("Tool", "acme", "pay"),
            "Tool acme/pay",
        ),
        (ObjectOrigin("Tool", None, "pay"), ObjectOrigin("Tool", None, "pay"), "Tool pay"),
        (NamedOrigin("a#1"), NamedOrigin("a#1"), "a#1"),
    ],
)
def test_finding_keeps_its_origin_in_every_form_and_does_not_show_it(origin: Origin, whole: Origin, text: str) -> None:
    finding = error("GET /pets", "is cut").about(origin)
    assert str(finding) == "error: GET /pets: is cut"
    assert (finding.origin, origin.whole, str(origin)) == (origin, whole, text)
    assert Finding.model_validate_json(finding.model_dump_json()).origin == origin
    assert pickle.loads(pickle.dumps(finding)) == finding
