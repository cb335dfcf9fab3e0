"""API descriptions handed over by the embedding program, or by a test."""

from collections.abc import Mapping

from stoa.application.ports.spec import SpecCredential, SpecDocument, SpecSource
from stoa.domain.errors import InvalidInput


class InMemorySpecSource(SpecSource):
    """Documents by location."""

    def __init__(self, documents: Mapping[str, str] | None = None) -> None:
        self._documents = dict(documents or {})

    def put(self, location: str, text: str) -> None:
        self._documents[location] = text

    async def fetch(
        self,
        location: str,
        *,
        root: str = "",  # noqa: ARG002  # no files here
        credential: SpecCredential | None = None,  # noqa: ARG002  # no servers here
    ) -> SpecDocument:
        text = self._documents.get(location)
        if text is None:
            raise InvalidInput(f"{location}: no document is registered under this name")
        return SpecDocument(location, text)
