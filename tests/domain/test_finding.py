"""Findings are told in one line."""

from stoa.domain.finding import Finding, Severity, error, warning


def test_a_finding_says_how_bad_it_is_where_and_what_to_do() -> None:
    assert str(error("pets.yaml#2 spec.timeout", "write 30s")) == "error: pets.yaml#2 spec.timeout: write 30s"
    assert str(warning("GET /pets", "is cut")) == "warning: GET /pets: is cut"
    assert error("a", "b") == Finding(severity=Severity.ERROR, where="a", message="b")
    assert warning("a", "b") == Finding(severity=Severity.WARNING, where="a", message="b")
