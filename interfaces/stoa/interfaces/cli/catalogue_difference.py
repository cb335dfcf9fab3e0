"""The differences between a catalogue and what a running gateway serves, as its REST door lists it."""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import httpx

from stoa.domain.access.identity import TenantId
from stoa.domain.errors import InvalidInput, Unavailable
from stoa.domain.operations.catalogue import Catalogue
from stoa.domain.operations.operation import Kind, OperationKey
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, as_text
from stoa.interfaces.wire import shaping
from stoa.interfaces.wire.revisions import NEWEST

_LISTS: tuple[tuple[str, str, Kind], ...] = (
    ("tools", "tools", "tool"),
    ("resources", "resources", "resource"),
    ("resources/templates", "resourceTemplates", "resource"),
    ("prompts", "prompts", "prompt"),
)
"""Path, member of the answer, and kind of each list of the REST door."""
_IDENTIFIERS: Mapping[Kind, tuple[str, ...]] = {
    "tool": ("name",),
    "resource": ("uri", "uriTemplate"),
    "prompt": ("name",),
}
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Difference:
    """One operation that differs."""

    change: Literal["new", "changed", "only served"]
    tenant: TenantId | None
    kind: Kind
    name: str
    fields: tuple[str, ...] = ()
    """The members of its entry that differ; of a changed one only."""


def differences(catalogue: Catalogue, served: Mapping[OperationKey, JsonObject]) -> list[Difference]:
    """By tenant and name. What lists do not show, such as the address of a back end, is not compared."""
    return sorted(_differences(catalogue, served), key=lambda one: (one.tenant or "", one.kind, one.name))


def _differences(catalogue: Catalogue, served: Mapping[OperationKey, JsonObject]) -> Iterator[Difference]:
    for key, operation in catalogue.operations.items():
        if key not in served:
            yield Difference("new", key.tenant, key.kind, key.name)
            continue
        ours, theirs = shaping.catalogue_entry(operation, NEWEST), served[key]
        fields = tuple(sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)))
        if fields:
            yield Difference("changed", key.tenant, key.kind, key.name, fields)
    for key in served:
        if key not in catalogue.operations and not key.name.startswith("stoa:"):  # the gateway's own pages
            yield Difference("only served", key.tenant, key.kind, key.name)


def client_of(url: str, token: str | None) -> httpx.AsyncClient:
    """A client of the gateway at `url`. Raises InvalidInput."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    try:
        return httpx.AsyncClient(base_url=url, headers=headers, timeout=_SECONDS, trust_env=False)
    except httpx.InvalidURL as refused:
        raise InvalidInput("--against: write the URL of a gateway, such as https://mcp.gostoa.dev") from refused


async def served_entries(
    client: httpx.AsyncClient, tenants: Collection[TenantId | None]
) -> Mapping[OperationKey, JsonObject]:
    """The entries that the gateway lists to the client's caller, for each of the tenants. Raises InvalidInput and
    Unavailable."""
    entries: dict[OperationKey, JsonObject] = {}
    for tenant in tenants:
        for path, member, kind in _LISTS:
            async for entry in _listed(client, path, member, tenant):
                owner = as_text(entry.get("tenantId"))
                name = next(as_text(entry[each]) for each in _IDENTIFIERS[kind] if each in entry)
                entries[OperationKey(TenantId(owner) if owner else None, name, kind)] = entry
    return entries


async def _listed(
    client: httpx.AsyncClient, path: str, member: str, tenant: TenantId | None
) -> AsyncIterator[JsonObject]:
    cursor: str | None = ""
    while cursor is not None:
        query = {"tenant_id": tenant, "cursor": cursor}
        page = await _answer(client, path, {name: value for name, value in query.items() if value})
        for entry in as_array(page.get(member)):
            yield as_object(entry)
        cursor = as_text(page.get("nextCursor")) or None


async def _answer(client: httpx.AsyncClient, path: str, query: Mapping[str, str]) -> JsonObject:
    place = f"{str(client.base_url).rstrip('/')}/mcp/v1/{path}"
    try:
        answer = await client.get(f"mcp/v1/{path}", params=query)
    except httpx.HTTPError as failure:
        raise Unavailable(f"{place} cannot be reached; check --against") from failure
    if answer.status_code in {401, 403}:
        raise InvalidInput(f"{place} refuses the token; set STOA_TOKEN to that of a caller who may list tools")
    try:
        content = as_object(answer.json())
    except ValueError:
        content = {}
    if answer.status_code != 200 or not content:
        raise Unavailable(f"{place} answered {answer.status_code}; check that --against is the URL of a gateway")
    return content
