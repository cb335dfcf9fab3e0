"""An MCP server of the demo, which the gateway has as its upstream: the notes of the support desk."""

from pathlib import Path

from stoa.application.gateway import Gateway
from stoa.domain.operations.tool import ToolAnnotations

_NOTES = {
    "refunds": "Refunds of more than 200 EUR are agreed with billing first.",
    "parcels": "A parcel that has not moved for five days counts as lost.",
}
_MANIFEST = """\
apiVersion: gostoa.dev/v1alpha1
kind: ToolSet
metadata: {{name: notes}}
spec:
  displayName: Notes, over MCP
  mcp: {{url: '{url}'}}
  naming: {{prefix: notes_}}
  toolDefaults: {{timeout: 5s}}
"""


def notes_server() -> Gateway:
    """What the server offers; to be mounted as an MCP server."""
    gateway = Gateway()
    read_only = ToolAnnotations(read_only_hint=True, open_world_hint=False)

    @gateway.tool(annotations=read_only)
    def search(text: str) -> dict[str, list[str]]:
        """Finds the notes that contain a text."""
        return {"notes": [note for note in _NOTES.values() if text.casefold() in note.casefold()]}

    @gateway.resource("notes://{topic}", completions={"topic": [*_NOTES]})
    def note(topic: str) -> str:
        """The note on a topic."""
        return _NOTES.get(topic, "There is no note on this topic.")

    return gateway


def write_notes_manifest(catalogue: Path, url: str) -> None:
    (catalogue / "notes.yaml").write_text(_MANIFEST.format(url=url), encoding="utf-8")
