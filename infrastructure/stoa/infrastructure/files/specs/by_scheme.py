"""Chooses the spec source by the form of a location: http(s) URL or file path."""

from stoa.application.ports import FollowedDocuments, SpecCredential, SpecDocument, SpecSource
from stoa.domain.errors import InvalidInput


class SpecSourceByScheme(SpecSource, FollowedDocuments):
    """Sends http:// and https:// locations to `remote`, configmap:// and secret:// to `cluster`, and those without a
    scheme to `files`."""

    def __init__(self, *, files: SpecSource, remote: SpecSource, cluster: SpecSource | None = None) -> None:
        self._files = files
        self._remote = remote
        self._cluster = cluster

    async def fetch(self, location: str, *, root: str = "", credential: SpecCredential | None = None) -> SpecDocument:
        scheme, separator, _ = location.partition("://")
        if not separator:
            return await self._files.fetch(location, root=root)
        if scheme.lower() in {"http", "https"}:
            return await self._remote.fetch(location, credential=credential)
        if scheme in {"configmap", "secret"} and self._cluster is not None:
            return await self._cluster.fetch(location)
        raise InvalidInput(f"{scheme}://...: only http and https URLs and file paths can be fetched")

    def version_of(self, location: str) -> str:
        is_of_cluster = location.startswith(("configmap://", "secret://"))
        return (
            self._cluster.version_of(location) if is_of_cluster and isinstance(self._cluster, FollowedDocuments) else ""
        )
