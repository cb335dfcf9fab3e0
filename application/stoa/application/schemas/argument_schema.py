"""A tool's input schema, compiled once; it normalises and checks the arguments of each call."""

from collections.abc import Iterable, Mapping

from stoa.application.schemas.bounded_validator import (
    MAX_DEPTH,
    BoundedValidator,
    TooCostly,
    is_plain_json,
    patterns_of,
)
from stoa.application.schemas.coercion import ObjectPlan, coerce
from stoa.application.schemas.coercion_plan import coercion_plan
from stoa.application.schemas.lenient_schema import enforced, places
from stoa.application.schemas.patterns import Pattern, PatternAllowance
from stoa.domain.errors import InvalidArguments, InvalidInput, Violation
from stoa.domain.operations.tool import Validation
from stoa.domain.schema.json_value import JsonObject

QUICK_BYTES = 16 * 1024
"""Bytes of a schema that is compiled in about a millisecond."""
TOO_COSTLY = "fewer or simpler values: to check these takes more work than one call may cause"


class ArgumentSchema:
    """Normalises arguments, and checks them against a JSON Schema (2020-12 unless it names another draft).

    Some clients send numbers, booleans, arrays and objects as JSON text, a single value for an array, and null for
    members that they leave out. Such values are coerced where the schema allows nothing else (docs/decisions/0042).
    """

    __slots__ = (
        "__weakref__",
        "_lenient",
        "_patterns",
        "_plan",
        "_schema",
        "_takes_others",
        "_validation",
        "_validator",
        "is_ready",
    )

    def __init__(
        self,
        schema: JsonObject,
        allowance: PatternAllowance | None = None,
        *,
        validation: Validation = "strict",
        takes_others: bool = False,
        is_checked: bool = False,
    ) -> None:
        """Raises InvalidInput if the schema is not valid, refers outside itself, or has patterns that are too large.
        `allowance`: limits the memory of its patterns. `takes_others`: the binding has a place for arguments that the
        schema does not name. `is_checked`: the schema was compiled before, so that only its patterns
        are looked at, and the rest is compiled with the first call: of a thousand tools few are ever called."""
        self._schema, self._takes_others = schema, takes_others
        self._validation: Validation = validation
        self._lenient: BoundedValidator | None = None
        self._plan: ObjectPlan | None = None
        self._validator: BoundedValidator | None = None
        self.is_ready = False
        """False until `make_ready` ended, which the first call does by itself."""
        try:
            self._patterns: Mapping[str, Pattern] = patterns_of(schema, allowance)
        except InvalidInput as refused:
            raise _unusable(refused) from refused
        if not is_checked:
            self.make_ready()

    def make_ready(self) -> BoundedValidator:
        """Compile the schema, which may take milliseconds: some 100 for one of half a megabyte. Other threads may use
        the schema and do the same meanwhile."""
        try:
            validator = BoundedValidator(self._schema, patterns=self._patterns)
        except InvalidInput as refused:
            raise _unusable(refused) from refused
        self._plan = coercion_plan(self._schema, is_lenient=self._validation != "strict", document=validator.document)
        self._validator = validator
        self.is_ready = True
        return validator

    def normalise(self, arguments: JsonObject) -> JsonObject:
        """The arguments for the policy, the check and the back end: the same object if nothing is coerced.

        Never raises and validates nothing, so that it may run before the caller is known to be allowed. Normalising
        twice is normalising once. Work: linear in the arguments and in the texts that are parsed.
        """
        return self.normalise_noting(arguments)[0]

    def normalise_noting(self, arguments: JsonObject) -> tuple[JsonObject, tuple[str, ...]]:
        """Like `normalise`, with the places that were coerced, never with values: JSON Pointers (RFC 6901) in which `*`
        stands for entries, and for members that the schema does not name."""
        plan = self._plan
        if plan is None:
            if self.is_ready:
                return arguments, ()
            self.make_ready()
            return self.normalise_noting(arguments)
        if not plan.alternatives:
            members, others = plan.members, plan.others
            for name, value in arguments.items():
                place = members.get(name, others)
                if place is not None and type(value) not in place.accepted:
                    break
            else:  # as most arguments are
                return arguments, ()
        return coerce(plan, arguments)

    def check(self, arguments: JsonObject) -> tuple[str, ...]:
        """Check normalised arguments; returns the places that fit the schema only leniently: JSON Pointers in which
        `*` stands for names that are not the schema's. Raises InvalidArguments with path and expectation.

        The work is bounded: arguments that would take more are refused like those that do not fit.
        """
        if not is_plain_json(arguments):
            raise InvalidArguments([Violation("", f"JSON values with at most {MAX_DEPTH} levels of nesting")])
        full = self._validator or self.make_ready()
        try:
            if full.is_valid(arguments):
                return ()
            if self._validation == "strict":
                raise InvalidArguments(full.violations(arguments))
            return self._check_leniently(full, arguments)
        except TooCostly:
            raise InvalidArguments([Violation("", TOO_COSTLY)]) from None

    def _check_leniently(self, full: BoundedValidator, arguments: JsonObject) -> tuple[str, ...]:
        validator = self._lenient
        if validator is None:  # made for the first arguments that need it: most tools never see any
            lenient = enforced(self._schema, self._validation, takes_others=self._takes_others)
            validator = self._lenient = full if lenient is None else BoundedValidator(lenient)
        if validator is full or not validator.is_valid(arguments):
            raise InvalidArguments(validator.violations(arguments))
        return places(self._schema, full.violations(arguments))

    @property
    def patterns(self) -> Iterable[Pattern]:
        return self._patterns.values()


def _unusable(refused: InvalidInput) -> InvalidInput:
    return InvalidInput(f"inputSchema is not a usable JSON Schema: {refused.message}")
