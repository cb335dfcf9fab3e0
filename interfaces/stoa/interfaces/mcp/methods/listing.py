"""The lists of tools, resources, templates and prompts: one page, joined from entries that are cached as bytes."""

from typing import Any

import pydantic_core

from stoa.application.catalogue.list_operations import ListOperations, ListQuery
from stoa.domain.schema.json_value import JsonObject
from stoa.interfaces.mcp.exchange import MethodCall
from stoa.interfaces.mcp.methods import cursors
from stoa.interfaces.wire import shaping

LIST_TTL_MS = 60_000


class Listing:
    """Answers list requests. `page_size`: entries on one page."""

    def __init__(self, server_info: JsonObject, page_size: int) -> None:
        self._server_info = server_info
        self._page_size = page_size
        self._json = shaping.EntryJson()

    async def answer(
        self, call: MethodCall, use_case: ListOperations[Any], member: str, *, templates: bool = False
    ) -> bytes:
        """One page of the operations that the caller may use. Pages are large: several clients read only one."""
        params = call.request.params
        after = "" if params.get("cursor") is None else cursors.decode(params["cursor"], member)
        view = call.exchange.view
        query = ListQuery(
            tenant=call.exchange.tenant,
            after=after,
            limit=self._page_size,
            is_counted=False,
            templates=templates,
            tags=view.tags if member == "tools" else frozenset(),
            api=view.toolset if member == "tools" else None,
        )
        page = await use_case.execute(call.caller, query, "mcp")
        rest: JsonObject = {} if page.next_after is None else {"nextCursor": cursors.encode(page.next_after, member)}
        rest = shaping.with_meta(rest, call.revision, self._server_info, ttlMs=LIST_TTL_MS, cacheScope="private")
        # Assembled from the entries' bytes: the rest object without its opening brace closes the result.
        entries = b",".join(
            self._json.of(operation, call.revision, is_faithful=view.is_faithful) for operation in page.items
        )
        closing = pydantic_core.to_json(rest)[1:]
        return b"".join(
            (
                b'{"jsonrpc":"2.0","id":',
                pydantic_core.to_json(call.request.id),
                b',"result":{"',
                member.encode(),
                b'":[',
                entries,
                b"]}" if closing == b"}" else b"]," + closing,
                b"}",
            )
        )
