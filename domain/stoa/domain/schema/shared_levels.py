"""Levels that several portable schemas have in common: the tools of one API share most of its components."""

from typing import Any, NamedTuple

from stoa.domain.schema.flat_schema import References, Trail
from stoa.domain.schema.portable_level import Level, level_of


class _Shared(NamedTuple):
    schema: Any
    """Kept, so that its identity is not that of another one later."""
    targets: dict[str, Any]
    """The targets of the references that were followed for it."""
    level: Level


class SharedLevels:
    """Remembers levels by the identity of their schema. The schemas must not be changed meanwhile."""

    def __init__(self) -> None:
        self._by_schema: dict[int, _Shared] = {}

    def of(self, schema: Any, trail: Trail, references: References) -> Level:
        """The same as `level_of`."""
        known = self._by_schema.get(id(schema))
        if known is None:
            targets = references.note_targets()
            level = level_of(schema, (), references)
            self._by_schema[id(schema)] = _Shared(schema, targets, level)
        elif known.targets and not all(references.target(name) is target for name, target in known.targets.items()):
            # One component in two tools whose definitions differ: one of them had no room for all.
            return level_of(schema, trail, references)
        else:
            level = known.level
        return level.after(trail) if trail else level
