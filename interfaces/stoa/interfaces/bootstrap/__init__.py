"""The composition root: the only package that knows both the adapters and the doors.

`build_container` wires everything with dishka; tests and embedding programs replace parts by passing a provider with
`override=True`. `create_app` makes the whole gateway as one ASGI application, which the server's workers load.
"""

from stoa.interfaces.bootstrap.container import build_container
from stoa.interfaces.bootstrap.core import catalogue_sources
from stoa.interfaces.bootstrap.governance import DEV_ISSUER, policy_of
from stoa.interfaces.bootstrap.metering import CommandLine, topic_log_of
from stoa.interfaces.bootstrap.parts import IdentityPart, MeteringPart, RelayPart, StartCheck
from stoa.interfaces.bootstrap.preflight import Preflight, preflight_of
from stoa.interfaces.bootstrap.resource_definitions import manifest_parts, resource_definitions
from stoa.interfaces.bootstrap.served_spec import STANDARD_INPUT, ServedSpec, ServedSpecProvider, served_spec
from stoa.interfaces.bootstrap.serving import create_app, preload, serve_stdio, start_logging

__all__ = [
    "DEV_ISSUER",
    "STANDARD_INPUT",
    "CommandLine",
    "IdentityPart",
    "MeteringPart",
    "Preflight",
    "RelayPart",
    "ServedSpec",
    "ServedSpecProvider",
    "StartCheck",
    "build_container",
    "catalogue_sources",
    "create_app",
    "manifest_parts",
    "policy_of",
    "preflight_of",
    "preload",
    "resource_definitions",
    "serve_stdio",
    "served_spec",
    "start_logging",
    "topic_log_of",
]
