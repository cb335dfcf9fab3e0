"""`stoa serve`: the gateway as an HTTP server."""

import logging
import os
import signal
import socket
import tempfile
from contextlib import suppress
from functools import partial

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from stoa.interfaces.bootstrap import catalogue_sources, create_app, preload, start_logging
from stoa.interfaces.cli.client_settings import client_settings
from stoa.interfaces.cli.common import DEFAULT_ROLE, NO_CATALOGUE, complain, listen, spec_of
from stoa.interfaces.cli.spec_options import NONE_GIVEN, OptionalSpec, SpecOptions
from stoa.interfaces.cli.workers import end_with_success, supervise
from stoa.interfaces.http.server import GatewayServer, config_of
from stoa.interfaces.settings import Settings
from stoa.interfaces.settings_findings import settings_findings

_log = logging.getLogger(__name__)

_ENDING_SECONDS = 15.0
"""Time for a worker's work after its grace period, until it is killed."""


def serve(
    spec: OptionalSpec = None,
    /,
    *,
    catalogue: list[str] | None = None,
    port: int | None = None,
    workers: int = 1,
    options: SpecOptions = NONE_GIVEN,
) -> int:
    """Serve the catalogue over MCP and REST until interrupted.

    Parameters
    ----------
    spec
        API description to serve without a manifest: an OpenAPI document, a GraphQL schema, a .proto file or descriptor
        set, as file or URL, `-` for standard input; or the address of a live server, such as
        grpc://HOST:PORT, https://HOST/mcp or 'stdio:COMMAND ARGUMENT ...'.
    catalogue
        Manifest file or folder; TENANT=PATH where a tenant's team writes there. May be given several times. Replaces
        CATALOGUE_PATH.
    port
        Port to listen on. Replaces PORT.
    workers
        Processes that share the port. With REDIS_URL they count rate limits together, without it each by its share
        (REPLICAS). Sessions need SESSIONS=redis.
    """
    # The workers read the environment, so that is how the options reach them.
    if catalogue:
        os.environ["CATALOGUE_PATH"] = ",".join(catalogue)
    if port is not None:
        os.environ["PORT"] = str(port)
    settings = Settings()
    # One line before the log begins, not one in the middle of it.
    listeners = listen(settings.host, settings.port)
    catalogue_sources(settings)
    findings = settings_findings(settings, os.environ)
    if findings:
        start_logging(settings)
        for finding in findings:
            _log.warning("configuration: %s %s", finding.where, finding.message)
    described = spec_of(settings, spec, options)
    if described is not None:
        _introduce(settings.model_copy(update={"port": listeners[0].getsockname()[1]}))
    elif not settings.catalogue_path and not settings.k8s_watcher_enabled:
        complain(f"stoa: no tools: name an API description, or {NO_CATALOGUE}")
    _allow_connections()
    signal.signal(signal.SIGTERM, end_with_success)
    config = config_of(
        partial(create_app, described),
        settings.keep_alive_seconds,
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=workers,
        loop="uvloop",
        tls_cert=settings.tls_cert,
        tls_key=settings.tls_key,
    )
    server = GatewayServer(config)
    if workers > 1:
        return _supervise(config, settings, listeners)
    start_logging(settings)
    with suppress(KeyboardInterrupt):
        server.run(listeners)
    return 0 if server.started else STARTUP_FAILURE


def _introduce(settings: Settings) -> None:
    """Says how to connect, where the token that a client needs is made on this machine."""
    complain(f"stoa: serving MCP at {settings.url}/mcp")
    if settings.identity == "dev-issuer":
        (_, claude_code), *_ = client_settings(f"{settings.url}/mcp", f"$(stoa token --role {DEFAULT_ROLE})")
        complain(f"stoa: a client for development: {claude_code}")


def _allow_connections() -> None:
    """Raises the limit of open files to the hard limit. The soft limit is 1024 nearly everywhere, for programs that use
    select(); event streams are long-lived connections, and one that cannot be accepted is not even refused."""
    with suppress(ImportError, OSError, ValueError):  # not on Windows; where it is forbidden the limit stays
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _supervise(config: uvicorn.Config, settings: Settings, listeners: list[socket.socket]) -> int:
    """Runs the workers; returns the exit code."""
    start_logging(settings)
    with tempfile.TemporaryDirectory(prefix="stoa-metrics-") as shared:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
        if "replicas" not in settings.model_fields_set:
            os.environ["REPLICAS"] = str(config.workers)
        if settings.sessions == "memory":  # a session would be unknown to every worker but one
            os.environ["SESSIONS"] = "none"
            _log.warning(
                "SESSIONS=memory is for one process; with --workers %d there are no sessions: set SESSIONS=redis and "
                "REDIS_URL to have them, or SESSIONS=none to say that none are wanted",
                config.workers,
            )
        preload(settings)
        grace_seconds = settings.shutdown_drain_seconds + settings.shutdown_grace_seconds + _ENDING_SECONDS
        return supervise(config, listeners, grace_seconds)
