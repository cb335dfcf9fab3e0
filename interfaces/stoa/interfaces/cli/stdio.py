"""`stoa stdio`: the gateway for one client that starts it itself and talks MCP over its standard input and output.

Clients give up on a server that does not answer soon: the connection is greeted here, before anything else is imported.
"""

import os
import signal
from typing import Literal, NoReturn

from stoa.interfaces.cli.spec_options import NONE_GIVEN, OptionalSpec, SpecOptions
from stoa.interfaces.stdio import client_connection


def stdio(
    spec: OptionalSpec = None,
    /,
    *,
    role: str | None = None,
    tenant: str | None = None,
    catalogue: list[str] | None = None,
    profile: Literal["portable", "faithful"] | None = None,
    tags: str = "",
    toolset: str | None = None,
    options: SpecOptions = NONE_GIVEN,
) -> int:
    """Serve the catalogue over MCP to the program that starts this one.

    Every message except the greeting is authenticated with the token in STOA_TOKEN; when it expires, messages are
    refused until the client starts this again with another. Log lines go to standard error, the audit trail to
    DATA_DIR/audit.jsonl.

    Parameters
    ----------
    spec
        API description to serve without a manifest, as `stoa serve` takes it; standard input is the client's.
    role
        Serve as this role, with development tokens that are renewed; else the token in STOA_TOKEN is used. With SPEC
        and neither, the client is a platform admin.
    tenant
        Tenant of the development tokens; with STOA_TOKEN the tenant whose catalogue is meant.
    catalogue
        Manifest file or folder; TENANT=PATH where a tenant's team writes there. May be given several times. Replaces
        CATALOGUE_PATH.
    profile
        List input schemas as every client understands them, or as they were declared. Replaces MCP_PROFILE.
    tags
        List the tools with one of these tags, comma-separated.
    toolset
        List the tools of this ToolSet.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    with client_connection(is_greeted=_has_credential(role, spec), reason_of=_reason) as connection:
        from stoa.interfaces.cli.stdio_gateway import serve

        serve(
            connection,
            spec=spec,
            options=options,
            role=role,
            tenant=tenant,
            catalogue=catalogue or [],
            profile=profile,
            tags=tags,
            toolset=toolset,
        )
    return 0


def _has_credential(role: str | None, spec: str | None) -> bool:
    """True if the client may be greeted. Without a credential the settings have to be read first, and the gateway
    refuses."""
    return bool(role or spec or os.environ.get("STOA_TOKEN") or os.environ.get("IDENTITY_PROVIDER") == "none")


def _reason(caught: Exception) -> str:
    from stoa.interfaces.cli.failures import failure_of

    failure = failure_of(caught)
    return "internal error; its standard error says more" if failure is None else failure.message


def _end(*_: object) -> NoReturn:
    """Ends the process on a signal before the gateway runs; afterwards the event loop has its own handlers."""
    raise SystemExit(0)
