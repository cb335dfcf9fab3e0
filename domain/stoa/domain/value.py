"""Frozen models that remember their computed properties."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """Base of frozen models with cached properties. A changed copy computes its own instead of inheriting them."""

    model_config = ConfigDict(frozen=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        copy = super().model_copy(update=update, deep=deep)
        state = vars(copy)
        for name in state.keys() - type(self).model_fields.keys():
            del state[name]
        _share_fields_set(copy)
        return copy

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        _share_fields_set(self)


_fields_sets: dict[frozenset[str], set[str]] = {}
_MOST_FIELDS_SETS = 1000


def _share_fields_set(model: BaseModel) -> None:
    """Makes equal models share one set of given fields. Pydantic keeps 2 KB of it for a tool, two thirds of the tool's
    size; frozen models never change it."""
    key = frozenset(model.__pydantic_fields_set__)
    shared = _fields_sets.get(key)
    if shared is None and len(_fields_sets) < _MOST_FIELDS_SETS:
        shared = _fields_sets.setdefault(key, set(key))
    if shared is not None:
        object.__setattr__(model, "__pydantic_fields_set__", shared)


class Strict(Value):
    """A value that refuses fields it does not know."""

    model_config = ConfigDict(extra="forbid")
