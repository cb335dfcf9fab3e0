"""Input schemas: each is compiled once for an owner, and what its owner may have is still counted."""

import gc

import pytest

from stoa.application.schemas.patterns import MAX_OWNER_SIZE, PatternAllowance
from stoa.application.schemas.shared_schemas import SharedSchemas
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import InvalidArguments, InvalidInput

ACME, BETA = TenantId("acme"), TenantId("beta")
SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "pattern": "^(?=a)a+$"}}}


def allowance(size: int = MAX_OWNER_SIZE) -> PatternAllowance:
    return PatternAllowance(size)


def test_shared_schemas_are_those_of_one_owner_that_are_equal() -> None:
    shared = SharedSchemas()
    first = shared.compiled(ACME, SCHEMA, allowance())
    assert shared.compiled(ACME, dict(SCHEMA), allowance()) is first
    assert shared.compiled(BETA, SCHEMA, allowance()) is not first
    assert shared.compiled(None, SCHEMA, allowance()) is not first
    other = shared.compiled(ACME, {"type": "object", "required": ["name"]}, allowance())
    first.check({})
    with pytest.raises(InvalidArguments):
        other.check({})


def test_shared_schemas_are_kept_only_as_long_as_they_are_used() -> None:
    shared = SharedSchemas()
    first = shared.compiled(ACME, SCHEMA, allowance())
    assert len(shared._compiled) == 1
    del first
    gc.collect()
    assert len(shared._compiled) == 0


def test_shared_schemas_count_in_the_allowance_of_each_catalogue() -> None:
    shared = SharedSchemas()
    first = shared.compiled(ACME, SCHEMA, allowance())
    with pytest.raises(InvalidInput, match="no room left"):
        shared.compiled(ACME, SCHEMA, allowance(0))
    first.check({"name": "aa"})


def test_shared_schemas_that_are_not_usable_are_refused_each_time() -> None:
    shared = SharedSchemas()
    for _ in range(2):
        with pytest.raises(InvalidInput, match="inputSchema is not a usable JSON Schema"):
            shared.compiled(ACME, {"type": 7}, allowance())
