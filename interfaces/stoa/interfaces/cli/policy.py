"""`stoa policy`: why a call would be allowed or refused, and whether a policy keeps the laws."""

from pathlib import Path
from typing import Annotated

import pydantic_core
from cyclopts import App, Parameter
from rich.table import Table

from stoa.application.calls.explain_call import Explanation
from stoa.application.policy.check_policy import LAWS, CheckPolicy, Counterexample
from stoa.domain.access.identity import PLATFORM_ROLE, Principal
from stoa.domain.errors import InvalidInput, StoaError
from stoa.domain.metering.money import to_json_number
from stoa.domain.schema.json_value import JsonObject
from stoa.interfaces.bootstrap import policy_of
from stoa.interfaces.cli.common import (
    arguments_of,
    console,
    open_gateway,
    recognised,
    settings_for,
    show_json,
    table,
)
from stoa.interfaces.cli.spec_options import NONE_GIVEN, OptionalSpec, SpecOptions
from stoa.interfaces.wire.explanation import wire_explanation

app = App(name="policy", help="Explain decisions and check policies.")


@app.command
async def explain(
    *arguments: str,
    tool: str,
    caller: Annotated[str, Parameter(name="--as")],
    catalogue: list[str] | None = None,
    spec: OptionalSpec = None,
    options: SpecOptions = NONE_GIVEN,
    json: bool = False,
) -> int:
    """Show what would happen to a call, stage by stage, without making it. Exit code 1 when it would be refused.

    Parameters
    ----------
    arguments
        `name=value`. A value is text; where the tool wants something else, write it as JSON.
    tool
        Name of the tool.
    caller
        ROLE@TENANT, or ROLE for somebody of no tenant.
    catalogue
        Manifest file or folder; TENANT=PATH where a tenant's team writes there. May be given several times. Replaces
        CATALOGUE_PATH.
    spec
        API description whose tool is meant, as `stoa serve` takes it.
    json
        Print JSON.
    """
    role, _, tenant = caller.partition("@")
    principal = Principal.of(caller, tenant=tenant or None, roles=[role])
    described = await recognised(settings_for(catalogue or []), spec, options)
    async with open_gateway(catalogue or [], described) as (gateway, _):
        try:
            found = await gateway.explain_call.execute(
                principal, None, tool, arguments_of(arguments), "cli", to_operator=True
            )
        except StoaError as refused:
            if gateway.registry.find(None if not tenant else principal.tenant, tool) is not None:
                raise
            admin = Principal.of(caller, tenant=principal.tenant, roles=[PLATFORM_ROLE])
            found = await gateway.explain_call.execute(admin, None, tool, {}, "cli")
            console(to_stderr=True).print(f"{caller} is told: {refused.message}")
    wire = wire_explanation(found)
    if json:
        show_json(wire)
    else:
        console().print(_drawn(caller, found, wire))
    return int(found.decision is None or not found.decision.is_allowed or bool(found.violations))


@app.command
async def check(bundle: Path, /, *, catalogue: list[str] | None = None) -> int:
    """Search for cases in which a policy breaks the laws that the gateway's promises rest on. Exit code 1 when one is
    found.

    Parameters
    ----------
    bundle
        File that `opa build -t wasm` made.
    catalogue
        Ask about the tools of these manifests instead of made-up ones.
    """
    engine = policy_of(bundle)
    tools = []
    if catalogue:
        async with open_gateway(catalogue) as (gateway, _):
            tools = list(gateway.registry.catalogue.tools.values())
            if not tools:
                raise InvalidInput("the catalogue has no tools to ask about")
    checking = CheckPolicy(engine, tools)
    broken = await checking.execute()
    rows = [[sentence, "broken" if law in broken else "kept", _case(broken.get(law))] for law, sentence in LAWS.items()]
    console().print(table(f"{bundle}: {checking.asked} decisions", ["law", "", "counterexample"], rows))
    return int(bool(broken))


def _case(found: Counterexample | None) -> str:
    if found is None:
        return ""
    principal, tool = found.query.principal, found.query.operation
    who = ", ".join([*sorted(principal.roles), *sorted(principal.scopes)]) or "no role"
    return (
        f"{principal.subject} of {principal.tenant or 'no tenant'} ({who}) calls {tool.identifier} of "
        f"{tool.tenant or 'everybody'} ({tool.access.value}) through {found.query.door} with "
        f"{pydantic_core.to_json(found.query.arguments).decode()}: {found.found}"
    )


def _drawn(caller: str, found: Explanation, wire: JsonObject) -> Table:
    rows: list[list[str]] = []
    if found.absence is not None:
        rows.append(["find", f"no: {found.absence}"])
    if found.decision is not None:
        verdict = "allowed" if found.decision.is_allowed else "denied"
        rows.append(["authorise", f"{verdict}: {found.decision.reason} ({', '.join(found.decision.rules)})"])
        if found.decision.obligations.confirm is not None:
            rows.append(["confirm", f"the user is asked: {found.decision.obligations.confirm}"])
        if found.decision.obligations.redact:
            rows.append(["redact", ", ".join(found.decision.obligations.redact)])
    if found.lowered is not None:
        rows.append(["scope", found.lowered])
    rows += [
        ["limit", f"{one.name}: {one.left} left of {one.limit.burst} at once, {one.limit.requests_per_minute} a minute"]
        for one in found.limits
    ]
    rows += [["coerce", place or "arguments"] for place in found.coerced]
    rows += [["tolerate", place or "arguments"] for place in found.tolerated]
    rows += [["validate", f"{one.path or 'arguments'}: {one.expected}"] for one in found.violations]
    rows += [["fixed", f"{name} = {pydantic_core.to_json(value).decode()}"] for name, value in found.fixed.items()]
    if found.price is not None:
        rows.append(["price", f"{to_json_number(found.price)} and what its latency adds"])
    if found.request is not None:
        rows.append(["call", pydantic_core.to_json(wire["request"], indent=2).decode()])
    return table(f"{found.tool}, called by {caller}", ["stage", "what would happen"], rows)
