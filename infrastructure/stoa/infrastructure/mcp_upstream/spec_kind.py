"""ToolSets from upstream MCP servers: `spec.mcp`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from stoa.application.concurrency.pace import in_turns
from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.ports import (
    CatalogueLoad,
    CatalogueObserver,
    ChangingSpecKind,
    SpecConverter,
    SpecDocument,
    SpecKind,
    SpecPlace,
)
from stoa.domain.errors import InvalidInput, StoaError, Unavailable
from stoa.domain.operations.tool import Tool
from stoa.domain.origin import Origin
from stoa.infrastructure.http_client.authentication import compile_authentication
from stoa.infrastructure.http_client.http1_errors import translated_failure
from stoa.infrastructure.http_client.spec_authentication import NO_CALLER
from stoa.infrastructure.mcp_upstream.binding import McpBinding, McpServer
from stoa.infrastructure.mcp_upstream.client_requests import ALL_CAPABILITIES
from stoa.infrastructure.mcp_upstream.converter import McpConverter
from stoa.infrastructure.mcp_upstream.description import described
from stoa.infrastructure.mcp_upstream.manifest import MEMBER, STDIO, McpSource, source_at
from stoa.infrastructure.mcp_upstream.messages import UpstreamFault
from stoa.infrastructure.mcp_upstream.session import Access, SessionGone
from stoa.infrastructure.mcp_upstream.upstreams import NOBODY, McpUpstreams, Upstream

TIMEOUT_SECONDS = 60.0
FIRST_DELAY_SECONDS = 1.0
LAST_DELAY_SECONDS = 60.0
MAX_LOOKS = 20
"""At a server that announces changes, one right after the other; then one each LOOK_SECONDS."""
LOOK_SECONDS = 5.0
_SCHEMES = ("mcp+http://", "mcp+https://", "sse+http://", "sse+https://", STDIO)


@dataclass(slots=True)
class _Watched:
    """A ToolSet whose server announces changes."""

    upstream: Upstream
    access: Access
    whose: str
    follower: asyncio.Task[None] | None = None
    looks: float = MAX_LOOKS
    """Number of looks that may still follow at once."""
    counted_at: float = 0.0
    """When `looks` was right, by the loop's clock."""
    later: asyncio.TimerHandle | None = None

    def announced(self, look: Callable[[], None]) -> None:
        """Have the description looked at now, or, if that was only just done, in a while: a server that announces
        changes without end is not asked without end."""
        loop = asyncio.get_running_loop()
        if self.later is not None:
            return
        now = loop.time()
        self.looks = min(self.looks + (now - self.counted_at) / LOOK_SECONDS, MAX_LOOKS) - 1
        self.counted_at = now
        if self.looks >= 0:
            look()
        else:
            self.later = loop.call_later(-self.looks * LOOK_SECONDS, self._look, look)

    def stop(self) -> None:
        for waiting in (self.follower, self.later):
            if waiting is not None:
                waiting.cancel()

    def _look(self, look: Callable[[], None]) -> None:
        self.later = None
        look()


class McpSpecKind(SpecKind[McpSource], ChangingSpecKind, CatalogueObserver):
    """Asks a server what it offers, and follows what it says of its lists. As a CatalogueObserver it learns which
    ToolSets are gone."""

    member = MEMBER
    manifest = McpSource

    def __init__(self, upstreams: McpUpstreams, *, report: ReportDefect = log_defect) -> None:
        self._upstreams = upstreams
        self._report = report
        self._watched: dict[Origin, _Watched] = {}
        self._changed: asyncio.Queue[Origin] | None = None

    def accepts(self, location: str, text: str | None) -> bool:
        """`mcp+https://host/path`, `stdio:COMMAND ARGUMENT ...`, or an http(s) URL whose path ends in /mcp or /sse."""
        if text is not None:
            return False
        parts = urlsplit(location)
        is_url = parts.scheme in {"http", "https"} and parts.path.rstrip("/").endswith(("/mcp", "/sse"))
        return location.startswith(_SCHEMES) or is_url

    def source_at(self, location: str) -> McpSource:
        return source_at(location)

    async def fetch(self, source: McpSource, place: SpecPlace) -> SpecDocument:
        server = source.server()
        check_program(server, is_of_platform=place.tenant is None, where=str(place.origin))
        if place.authentication.type == "oauth2" and place.authentication.grant is None:
            raise InvalidInput(f"{place.origin}: authentication.grant is required")
        if place.authentication.type == "oauth2" and place.access is None:
            raise InvalidInput(f"{place.origin}: {NO_CALLER} (bind its tools by hand with spec.mcp.tool)")
        upstream = self._upstreams.of(server, place.tenant, place.authentication)
        access, whose = self._access(server, place), server.place
        wanted = {"tools": source.tools, "resources": source.resources, "prompts": source.prompts}
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                text, announces_changes = await self._asked(upstream, access, whose, wanted)
        except TimeoutError:
            raise Unavailable(f"{whose}: it did not say what it offers within {TIMEOUT_SECONDS:g} s") from None
        except UpstreamFault as fault:
            raise Unavailable(f"{whose}: it does not say what it offers (error {fault.code})") from None
        except SessionGone:
            raise Unavailable(f"{whose}: it lost its session") from None
        except Unavailable as away:
            raise Unavailable(away.message) from None
        except OSError as lost:
            problem = translated_failure(lost, whose)
        else:
            self._watch(place.origin, _Watched(upstream, access, whose) if announces_changes else None)
            return SpecDocument(whose, text, "application/json")
        raise Unavailable(problem.message)

    def converter(self, source: McpSource) -> SpecConverter:
        return McpConverter(source)

    async def changed_places(self) -> AsyncIterator[Origin]:
        changed = self._changed = asyncio.Queue()
        try:
            for origin, watched in self._watched.items():
                self._follow(origin, watched)
            while True:
                yield await changed.get()
        finally:
            self._changed = None
            followers = [watched.follower for watched in self._watched.values() if watched.follower is not None]
            for watched in self._watched.values():
                watched.stop()
            await asyncio.gather(*followers, return_exceptions=True)

    async def loaded(self, load: CatalogueLoad) -> None:
        present = {report.document.origin async for report in in_turns(load.manifests)}
        for origin in self._watched.keys() - present:
            self._watch(origin, None)

    async def _asked(self, upstream: Upstream, access: Access, whose: str, wanted: dict[str, bool]) -> tuple[str, bool]:
        """The description, and whether changes of it are announced. A session that the server has lost is replaced."""
        for is_last in (False, True):
            async with upstream.session(NOBODY, ALL_CAPABILITIES, access, whose) as session:
                try:
                    return await described(session, access, wanted.__getitem__), session.peer.announces_changes
                except SessionGone:
                    upstream.forget(session)
                    if is_last:
                        raise
        raise SessionGone

    def _access(self, server: McpServer, place: SpecPlace) -> Access:
        if place.access is not None:
            return Access(None, place.access, is_of_gateway=True)
        asking = Tool(
            name="mcp",
            tenant=place.tenant,
            binding=McpBinding(server=server, name="-"),
            authentication=place.authentication,
        )
        return Access(compile_authentication(asking, self._upstreams.credentials))

    def _watch(self, origin: Origin, watched: _Watched | None) -> None:
        """Follow this server for a ToolSet, instead of the one that was followed for it."""
        known = self._watched.get(origin)
        if known is not None and watched is not None and known.upstream is watched.upstream:
            return
        if known is not None:
            known.stop()
        self._watched.pop(origin, None)
        if watched is not None:
            self._watched[origin] = watched
            if self._changed is not None:
                self._follow(origin, watched)

    def _follow(self, origin: Origin, watched: _Watched) -> None:
        watched.follower = asyncio.create_task(
            self._followed(origin, watched), name="follow the lists of an upstream MCP server"
        )

    async def _followed(self, origin: Origin, watched: _Watched) -> None:
        """Until cancelled. Each time that the connection stands, the lists may have changed while it did not."""
        delay = FIRST_DELAY_SECONDS

        def look() -> None:
            if self._changed is not None:
                self._changed.put_nowait(origin)

        def established() -> None:
            nonlocal delay
            delay = FIRST_DELAY_SECONDS
            tell()

        def tell() -> None:
            watched.announced(look)

        while True:
            try:
                async with watched.upstream.session(NOBODY, ALL_CAPABILITIES, watched.access, watched.whose) as session:
                    session.on_change = tell
                    try:
                        await session.watch(watched.access, established)
                    except SessionGone:
                        watched.upstream.forget(session)
            except (StoaError, UpstreamFault, OSError):  # the refresh interval finds what is missed
                pass
            except Exception as defect:  # noqa: BLE001  # of one server; the others are followed on
                self._report("mcp", defect)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_DELAY_SECONDS)


def check_program(server: McpServer, *, is_of_platform: bool, where: str) -> None:
    """Raises InvalidInput for a program that another than the platform declares: it runs with the gateway's rights."""
    if server.program is not None and not is_of_platform:
        raise InvalidInput(f"{where}: spec.mcp.command is for global manifests of the platform; use spec.mcp.url")
