"""Frozen models that remember what they computed."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """Base of frozen models with cached properties. A changed copy computes its own, it does not inherit them."""

    model_config = ConfigDict(frozen=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        copy = super().model_copy(update=update, deep=deep)
        state = vars(copy)
        for name in state.keys() - type(self).model_fields.keys():
            del state[name]
        return copy


class Strict(Value):
    """A value that refuses fields it does not know."""

    model_config = ConfigDict(extra="forbid")
