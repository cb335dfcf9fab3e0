"""Writes down what an upstream server offers, in an order that does not depend on the server."""

from collections.abc import Callable
from typing import Any

import pydantic_core

from stoa.application.concurrency.pace import in_turns
from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject, as_object, is_array
from stoa.infrastructure.mcp_upstream.messages import METHOD_NOT_FOUND, UpstreamFault
from stoa.infrastructure.mcp_upstream.session import Access, Call, Session

MAX_PAGES = 200
MAX_ENTRIES = 20_000
MAX_BYTES = 16 * 1024 * 1024
_LISTS = (
    ("tools", "tools/list", "tools", "name"),
    ("resources", "resources/list", "resources", "uri"),
    ("resources", "resources/templates/list", "resourceTemplates", "uriTemplate"),
    ("prompts", "prompts/list", "prompts", "name"),
)
"""Capability, method, member of the result, and the member that names an entry."""


async def described(session: Session, access: Access, is_wanted: Callable[[str], bool]) -> str:
    """JSON with `server`, `protocolVersion`, `instructions` and the lists. `is_wanted`: by capability. Raises
    InvalidInput for lists that are too long, and as Session.request does."""
    peer = session.peer
    server = {name: peer.info[name] for name in ("name", "title", "version") if isinstance(peer.info.get(name), str)}
    description: JsonObject = {"mcp": {"server": server, "protocolVersion": peer.revision}}
    if peer.has_tasks:
        description["mcp"]["hasTasks"] = True
    if peer.instructions is not None:
        description["instructions"] = peer.instructions
    parts = [pydantic_core.to_json(description)[:-1]]
    for capability, method, member, key in _LISTS:
        if capability in peer.capabilities and is_wanted(capability):
            entries = await _listed(session, access, method, member)
            entries.sort(key=lambda entry: str(entry.get(key)))
            # One by one: a server may offer megabytes, and change them every few seconds.
            encoded = [pydantic_core.to_json(entry) async for entry in in_turns(entries)]
            parts.append(b',"%s":[%s]' % (member.encode(), b",".join(encoded)))
    text = b"".join([*parts, b"}"]).decode()
    if len(text) > MAX_BYTES:
        raise InvalidInput(f"{session.whose}: what it offers is larger than {MAX_BYTES} bytes")
    return text


async def _listed(session: Session, access: Access, method: str, member: str) -> list[JsonObject]:
    entries: list[JsonObject] = []
    params: JsonObject = {}
    for _ in range(MAX_PAGES):
        try:
            result = await session.request(method, params, Call(access=access))
        except UpstreamFault as fault:
            if fault.code == METHOD_NOT_FOUND and not params:  # some offer no templates
                return entries
            raise
        listed: Any = result.get(member)
        # `_meta` is for clients of this very answer, and may differ in each.
        entries += [
            {name: value for name, value in as_object(each).items() if name != "_meta"}
            async for each in in_turns(listed if is_array(listed) else [])
        ]
        cursor = result.get("nextCursor")
        if not isinstance(cursor, str) or {"cursor": cursor} == params:
            return entries
        params = {"cursor": cursor}
        if len(entries) > MAX_ENTRIES:
            break
    raise InvalidInput(f"{session.whose}: {method} has more than {MAX_ENTRIES} entries or {MAX_PAGES} pages")
