"""Compiled input schemas, shared by all operations of one owner that have the same."""

import hashlib
from weakref import WeakValueDictionary

import pydantic_core

from stoa.application.schemas.argument_schema import ArgumentSchema
from stoa.application.schemas.patterns import PatternAllowance
from stoa.domain.access.identity import TenantId
from stoa.domain.operations.tool import Validation
from stoa.domain.schema.json_value import JsonObject

_Key = tuple[TenantId | None, Validation, bool, bytes]


class SharedSchemas:
    """Compiles each input schema of an owner once, for as long as an operation uses it. A reload that changes ten
    thousand tools seldom changes their schemas: compiling these again would take half of its time, and their memory
    twice while both catalogues are there."""

    def __init__(self) -> None:
        self._compiled: WeakValueDictionary[_Key, ArgumentSchema] = WeakValueDictionary()

    def compiled(
        self,
        owner: TenantId | None,
        schema: JsonObject,
        allowance: PatternAllowance,
        *,
        validation: Validation = "strict",
        takes_others: bool = False,
        is_checked: bool = False,
    ) -> ArgumentSchema:
        """The schema with its patterns counted in `allowance`, compiled unless it `is_checked`. Raises InvalidInput if
        it is not usable, or if its patterns are too large."""
        # The order of members counts, because messages about several faults follow it.
        written = pydantic_core.to_json(schema)
        key = owner, validation, takes_others, hashlib.sha256(written).digest()
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = self._compiled[key] = ArgumentSchema(
                schema, allowance, validation=validation, takes_others=takes_others, is_checked=is_checked
            )
        else:
            for pattern in compiled.patterns:
                allowance.compile(pattern.text)  # which checks that there is room for it
        return compiled
