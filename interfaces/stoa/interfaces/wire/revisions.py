"""The protocol's revisions and what differs between them, as data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Revision:
    """One released revision. Each flag names something that this revision added or took away."""

    name: str
    is_stateless: bool = False
    """No handshake: every request carries its envelope (2026-07-28)."""
    has_batches: bool = False
    has_annotations: bool = True
    has_titles: bool = True
    has_icons: bool = True
    has_structured_content: bool = True
    has_audio: bool = True
    has_resource_links: bool = True
    has_content_meta: bool = True
    """Blocks of content have `_meta`, and their annotations `lastModified`."""
    has_progress_messages: bool = True
    has_completions_capability: bool = True
    """Completion is older than the capability that announces it."""
    has_elicitation: bool = True
    has_client_details: bool = True
    """Clients say which modes of elicitation and which parts of sampling they know."""
    has_content_lists: bool = True
    """A sampling message may have several blocks."""
    has_elicitation_ids: bool = False
    """Elicitation by URL has an id, and is followed by a notification when it is done."""
    has_completion_context: bool = True
    """A completion may depend on the arguments that are known already."""
    allows_any_structured: bool = False
    """Structured content and output schemas need not be objects."""


SERVER_INFO_KEY = "io.modelcontextprotocol/serverInfo"
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
"""Key of `_meta` under which a result names the server."""
HANDSHAKE_REVISIONS = {
    revision.name: revision
    for revision in (
        Revision(
            "2024-11-05",
            has_batches=True,
            has_annotations=False,
            has_titles=False,
            has_icons=False,
            has_structured_content=False,
            has_resource_links=False,
            has_content_meta=False,
            has_audio=False,
            has_progress_messages=False,
            has_completions_capability=False,
            has_elicitation=False,
            has_client_details=False,
            has_content_lists=False,
            has_completion_context=False,
        ),
        Revision(
            "2025-03-26",
            has_batches=True,
            has_titles=False,
            has_icons=False,
            has_structured_content=False,
            has_resource_links=False,
            has_content_meta=False,
            has_elicitation=False,
            has_client_details=False,
            has_content_lists=False,
            has_completion_context=False,
        ),
        Revision("2025-06-18", has_icons=False, has_client_details=False, has_content_lists=False),
        Revision("2025-11-25", has_elicitation_ids=True),
    )
}
"""The revisions that begin with `initialize`, oldest first."""

STATELESS_REVISIONS = {"2026-07-28": Revision("2026-07-28", is_stateless=True, allows_any_structured=True)}

NEWEST = STATELESS_REVISIONS["2026-07-28"]
NEWEST_HANDSHAKE = HANDSHAKE_REVISIONS["2025-11-25"]
ASSUMED = HANDSHAKE_REVISIONS["2025-03-26"]
"""For a request that names none (2025-06-18, "Protocol Version Header")."""


def negotiate(requested: object) -> Revision:
    """The revision that `initialize` answers: the requested one if it has a handshake, else our newest that has."""
    return HANDSHAKE_REVISIONS.get(requested, NEWEST_HANDSHAKE) if isinstance(requested, str) else NEWEST_HANDSHAKE
