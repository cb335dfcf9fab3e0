"""The layout that the namespace package needs, and that the description of it names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("domain", "application", "infrastructure", "interfaces")
PACKAGES = {
    "domain": {"domain"},
    "application": {"application", "testing"},
    "infrastructure": {"infrastructure"},
    "interfaces": {"interfaces"},
}
"""What each layer's folder adds to the namespace."""
PATTERN_FOR_READERS = "X/stoa/X/y.py"


@pytest.mark.parametrize("layer", LAYERS)
def test_no_layer_claims_the_namespace_for_itself(layer):
    stray = ROOT / layer / "stoa" / "__init__.py"
    assert not stray.exists(), f"{stray.relative_to(ROOT)} would hide the other three layers; delete it"
    folders = {path.name for path in (ROOT / layer / "stoa").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} == PACKAGES[layer]


@pytest.mark.parametrize("layer", LAYERS)
def test_every_package_is_typed_for_its_users(layer):
    assert all((ROOT / layer / "stoa" / package / "py.typed").is_file() for package in PACKAGES[layer])


def _exists(path: str) -> bool:
    """From the root or a layer's package; a bare file name may stand anywhere in a layer."""
    bases = [ROOT, *(ROOT / layer / "stoa" / layer for layer in LAYERS)]
    if any((base / path).exists() for base in bases):
        return True
    return "/" not in path and any(any(base.rglob(path)) for base in bases[1:])


def test_every_path_in_architecture_md_exists():
    description = ROOT / "architecture.md"
    if not description.exists():
        pytest.skip("architecture.md is not written yet")
    named = set(re.findall(r"`([\w./-]+(?:\.py|/))`", description.read_text())) - {PATTERN_FOR_READERS}
    assert named
    assert [path for path in sorted(named) if not _exists(path)] == []
