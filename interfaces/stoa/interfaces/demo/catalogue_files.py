"""The demo's manifests and API description: as shipped, and with the address of a running upstream."""

from importlib.util import find_spec
from pathlib import Path

UPSTREAM_PLACEHOLDER = "http://upstream.invalid"
"""Placeholder for the upstream's address in the shipped manifests."""

_HERE = Path(__file__).parent
_FURTHER = {"reviews.yaml": "graphql"}
"""Manifests of back ends whose library is an extra, by the module that it installs."""


def write_catalogue(directory: Path, upstream_url: str) -> None:
    """Write the manifests into `directory`, which exists, for an upstream at `upstream_url` (`http://127.0.0.1:8000`).

    The API description goes beside the manifest that names it. Back ends whose library is not installed are left out.
    """
    further = [_HERE / "further" / name for name, module in _FURTHER.items() if find_spec(module) is not None]
    for source in (*sorted((_HERE / "catalogue").glob("*.yaml")), _HERE / "petstore.openapi.yaml", *further):
        text = source.read_text(encoding="utf-8").replace(UPSTREAM_PLACEHOLDER, upstream_url.rstrip("/"))
        (directory / source.name).write_text(text, encoding="utf-8")
