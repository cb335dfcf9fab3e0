"""The adapters that a contract suite runs against, as parameters of a fixture."""

from collections.abc import Iterable
from typing import Any

import pytest


def parameters(names: Iterable[str]) -> list[Any]:
    """Those that need a real server have names that begin with `real_`."""
    return [pytest.param(name, marks=[pytest.mark.live] if name.startswith("real_") else []) for name in names]
