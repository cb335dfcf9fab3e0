"""`stoa call`: one governed call from the command line, through the same pipeline as every other door."""

import os

from stoa.application.gateway import Gateway
from stoa.domain.access.identity import TenantId
from stoa.domain.calls.invocation import BearerToken, Invocation
from stoa.domain.metering.money import to_json_number
from stoa.domain.results.result import TextContent
from stoa.domain.schema.json_value import JsonObject
from stoa.interfaces.cli.common import (
    arguments_of,
    default_role,
    development_token,
    open_gateway,
    recognised,
    settings_for,
    show,
    show_json,
)
from stoa.interfaces.cli.spec_options import NONE_GIVEN, OptionalSpec, SpecOptions
from stoa.interfaces.wire import shaping
from stoa.interfaces.wire.revisions import NEWEST


async def call(
    tool: str,
    /,
    *arguments: str,
    role: str | None = None,
    tenant: str | None = None,
    catalogue: list[str] | None = None,
    spec: OptionalSpec = None,
    options: SpecOptions = NONE_GIVEN,
    json: bool = False,
) -> int:
    """Call a tool and print its answer. Exit code 1 when the tool answered with an error.

    Parameters
    ----------
    tool
        Name of the tool.
    arguments
        `name=value`. A value is text; where the tool wants something else, write it as JSON.
    role
        Call with a development token of this role; else the token in STOA_TOKEN is used. With `--spec` and neither, a
        platform admin calls.
    tenant
        Tenant of the development token.
    catalogue
        Manifest file or folder; TENANT=PATH where a tenant's team writes there. May be given several times. Replaces
        CATALOGUE_PATH.
    spec
        API description whose tool is called, as `stoa serve` takes it.
    json
        Print the whole result with status, latency and cost.
    """
    settings = settings_for(catalogue or [])
    described = await recognised(settings, spec, options)
    role = role or default_role(settings, described)
    async with open_gateway(catalogue or [], described) as (gateway, container):
        token = os.environ.get("STOA_TOKEN")
        if role is not None:
            token = await development_token(container, role, tenant, lifetime_seconds=60)
        view = tenant if role is None else None
        return await call_through(gateway, tool, arguments_of(arguments), token, tenant=view, as_json=json)


async def call_through(
    gateway: Gateway, tool: str, arguments: JsonObject, token: str | None, *, tenant: str | None, as_json: bool = False
) -> int:
    """Calls a tool of this gateway and prints its answer; returns the exit code. Raises the outcome's error."""
    outcome = await gateway.invoke_operation.execute(
        Invocation(
            credential=None if token is None else BearerToken(token),
            name=tool,
            arguments=arguments,
            door="cli",
            tenant=None if tenant is None else TenantId(tenant),
            consumer="stoa-cli",
        )
    )
    if outcome.error is not None:
        raise outcome.error
    result = outcome.result
    if result is None:
        return 1
    if as_json:
        whole = {
            "result": {"isError": False, **shaping.tool_result(result, NEWEST, outcome.coerced, outcome.tolerated)},
            "status": outcome.status,
            "requestId": outcome.request_id,
            "latencyMs": outcome.latency_ms,
            "costUnits": to_json_number(outcome.cost),
        }
        show_json(whole)
    else:
        for block in result.content:
            text = block.text if isinstance(block, TextContent) else f"[{type(block).__name__}; use --json to see it]"
            show(text)
    return int(result.is_error)
