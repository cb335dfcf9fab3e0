"""`stoa changes`: what a new version of an API description changes at a running gateway, and its approval."""

import os
from collections.abc import Iterator
from urllib.parse import quote

import httpx

from stoa.domain.errors import InvalidInput, Unavailable
from stoa.domain.schema.json_value import JsonObject, as_array, as_object, as_text
from stoa.interfaces.cli.catalogue_difference import client_of
from stoa.interfaces.cli.common import console, show, show_json, table


async def changes(
    api: str,
    /,
    *,
    against: str = "http://127.0.0.1:8080",
    tenant: str | None = None,
    approve: str | None = None,
    json: bool = False,
) -> int:
    """Show what a new version of an API description changes, or approve it. Exit code 1 while one is held back.

    The token in STOA_TOKEN is of a platform admin, or of a tenant admin for an API of that tenant.

    Parameters
    ----------
    api
        Name of the ToolSet.
    against
        URL of the gateway.
    tenant
        Tenant of the ToolSet, for a platform admin.
    approve
        Digest of the version to use from now on.
    json
        Print JSON.
    """
    async with client_of(against, os.environ.get("STOA_TOKEN")) as client:
        answer = await changes_of(client, api, tenant, approve)
    pending = as_object(answer.get("pending"))
    if json:
        show_json(answer)
        return int(bool(pending))
    told = pending or answer
    digest = as_text(pending.get("digest"))
    show(f"{api}: held back, version {digest}" if pending else f"{api}: in use, version {as_text(answer.get('inUse'))}")
    console().print(table("", ["change", "tool", "why"], list(_rows(told))))
    if pending:
        show(f"To use it: stoa changes {api} --approve {digest}")
    return int(bool(pending))


def _rows(told: JsonObject) -> Iterator[list[str]]:
    for change in map(as_object, as_array(told.get("changes"))):
        yield [as_text(change.get(name)) for name in ("kind", "tool", "why")]


async def changes_of(client: httpx.AsyncClient, api: str, tenant: str | None, digest: str | None) -> JsonObject:
    """The changes, after the approval if a digest is given. Raises InvalidInput and Unavailable."""
    place = f"mcp/v1/apis/{quote(api, safe='')}"
    query = {} if tenant is None else {"tenant_id": tenant}
    try:
        if digest is None:
            answer = await client.get(f"{place}/changes", params=query)
        else:
            answer = await client.post(f"{place}/approve", params={**query, "digest": digest})
    except httpx.HTTPError as failure:
        raise Unavailable(f"{client.base_url} cannot be reached; check --against") from failure
    try:
        content = as_object(answer.json())
    except ValueError:
        content = {}
    if answer.status_code in {401, 403}:
        raise InvalidInput("the gateway refuses the token; set STOA_TOKEN to that of an admin")
    if answer.status_code in {400, 404}:
        raise InvalidInput(f"{api}: {as_text(content.get('message')) or 'the gateway knows no such API'}")
    if answer.status_code != 200 or "inUse" not in content:
        raise Unavailable(f"{client.base_url} answered {answer.status_code}; check that --against is a gateway's URL")
    return content
