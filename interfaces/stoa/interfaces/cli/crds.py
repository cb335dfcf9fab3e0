"""`stoa crds`: the CustomResourceDefinitions for an API server."""

from pathlib import Path

from stoa.interfaces.bootstrap import resource_definitions
from stoa.interfaces.cli.common import open_container, show
from stoa.interfaces.settings import Settings


async def crds(*, output: Path | None = None) -> None:
    """Print the CustomResourceDefinitions of the manifests that this gateway reads.

    `kubectl apply --server-side -f -` takes what it prints.

    Parameters
    ----------
    output
        Folder for one file per kind, instead of standard output.
    """
    async with open_container(Settings()) as container:
        files = await resource_definitions(container)
    if output is None:
        show("---\n".join(files.values()).rstrip("\n"))
        return
    output.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (output / name).write_text(text, encoding="utf-8")
        show(str(output / name))
