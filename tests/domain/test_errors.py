"""Errors: stable codes and messages that are safe to show."""

import pytest

from stoa.domain.errors import InvalidArguments, QuotaExceeded, StoaError, Violation
from stoa.domain.invocation import BearerToken


def _tree(kind):
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


def test_every_error_has_a_code_of_its_own():
    kinds = [kind for kind in _tree(StoaError) if kind.__module__ == "stoa.domain.errors"]
    codes = [kind.code for kind in kinds]
    assert len(set(codes)) == len(codes) > 10


def test_violations_are_told_with_their_place():
    error = InvalidArguments([Violation("", "an object"), Violation("/a~1b", "a number")])
    assert error.message == str(error) == "Invalid arguments: (root): an object; /a~1b: a number"


def test_a_quota_says_when_to_come_back():
    error = QuotaExceeded("caller", 1.25)
    assert "retry in 1.2 s" in error.message
    assert error.retry_after_seconds == 1.25


@pytest.mark.parametrize("show", [repr, str, "{}".format])
def test_a_bearer_token_does_not_show(show):
    assert "hunter2" not in show(BearerToken("hunter2"))
