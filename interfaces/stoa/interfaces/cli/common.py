"""Helpers shared by commands: a gateway with its catalogue loaded, tables, and development tokens."""

import asyncio
import errno
import logging
import os
import socket
import sys
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pydantic_core
from dishka import AsyncContainer
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from stoa.application.catalogue import catalogue_loader
from stoa.application.gateway import Gateway
from stoa.domain.errors import InvalidInput
from stoa.domain.schema.json_value import JsonObject
from stoa.domain.schema.plain_text import escaped, plain
from stoa.interfaces.bootstrap import (
    CommandLine,
    IdentityPart,
    ServedSpec,
    ServedSpecProvider,
    StartCheck,
    build_container,
    served_spec,
)
from stoa.interfaces.cli.spec_options import NONE_GIVEN, SpecOptions
from stoa.interfaces.http.sockets import bound
from stoa.interfaces.settings import Settings

TOKEN_LIFETIME_SECONDS = 12 * 3600
DEFAULT_ROLE = "cpi-admin"
"""Role of whoever serves a description of their own in development: they hold the key that signs its tokens, and a
lesser role would only hide operations from them."""
NO_CATALOGUE = "name a folder of manifests with --catalogue or CATALOGUE_PATH"


def spec_of(settings: Settings, location: str | None, options: SpecOptions) -> ServedSpec | None:
    """The API description that a command names, outside of any event loop. Raises InvalidInput or Unavailable."""
    return asyncio.run(recognised(settings, location, options))


async def recognised(settings: Settings, location: str | None, options: SpecOptions) -> ServedSpec | None:
    if location is not None:
        return (await described_spec(settings, location, options)).for_serving()
    if options != NONE_GIVEN:
        raise InvalidInput("--base-url, --header-from-env and --scheme-from-env belong to an API description; name it")
    return None


async def described_spec(settings: Settings, location: str, options: SpecOptions) -> ServedSpec:
    return await served_spec(
        settings,
        location,
        base_url=options.base_url,
        headers_from_env=options.header_from_env,
        schemes_from_env=options.scheme_from_env,
    )


def default_role(settings: Settings, spec: ServedSpec | None) -> str | None:
    """The role of a caller who named none and has no token; None: nobody is let in so."""
    is_own = spec is not None and settings.identity == "dev-issuer" and not os.environ.get("STOA_TOKEN")
    return DEFAULT_ROLE if is_own else None


@asynccontextmanager
async def open_container(settings: Settings, spec: ServedSpec | None = None) -> AsyncGenerator[AsyncContainer]:
    container = build_container(settings, CommandLine(), *([] if spec is None else [ServedSpecProvider(spec)]))
    try:
        yield container
    finally:
        await container.close()


@asynccontextmanager
async def open_gateway(
    catalogue: Sequence[str], spec: ServedSpec | None = None
) -> AsyncGenerator[tuple[Gateway, AsyncContainer]]:
    """Opens a gateway with its catalogue loaded; `catalogue` replaces CATALOGUE_PATH if it is not empty."""
    async with open_container(settings_for(catalogue), spec) as container:
        gateway = await container.get(Gateway)
        await gateway.loader.execute()
        (await container.get(StartCheck)).run(gateway.loader)
        yield gateway, container


@contextmanager
def quiet_catalogue() -> Generator[None]:
    """Silences the catalogue's log, for commands that print the findings themselves."""
    log = logging.getLogger(catalogue_loader.__name__)
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def settings_for(catalogue: Sequence[str]) -> Settings:
    return Settings(catalogue_path=tuple(catalogue)) if catalogue else Settings()


async def development_token(container: AsyncContainer, role: str, tenant: str | None, lifetime_seconds: int) -> str:
    """Issues a development token. Raises InvalidInput if another identity provider is configured."""
    issuer = (await container.get(IdentityPart)).issuer
    if issuer is None:
        raise InvalidInput("tokens are made by the dev issuer only; set IDENTITY_PROVIDER=dev-issuer")
    subject = f"{role}@{tenant}" if tenant else role
    return issuer.issue(subject=subject, tenant=tenant, roles=frozenset({role}), lifetime_seconds=lifetime_seconds)


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to the address, one for each that a name has. Raises InvalidInput."""
    try:
        return bound(host, port)
    except OSError as caught:
        if caught.errno == errno.EADDRINUSE:
            message = f"address already in use: port {port} of {host}; choose another with --port"
        else:
            message = f"cannot listen on port {port} of {host}; choose others with PORT and HOST"
        raise InvalidInput(message) from caught


def arguments_of(arguments: Sequence[str]) -> JsonObject:
    """Parses arguments written as `name=value`. Raises InvalidInput."""
    pairs = [argument.partition("=") for argument in arguments]
    wrong = [name for name, equals, _ in pairs if not equals or not name]
    if wrong:
        raise InvalidInput(f"write arguments as name=value, not {wrong[0]!r}")
    return {name: value for name, _, value in pairs}


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: Sequence[str] = ()) -> Table:
    drawn = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        drawn.add_column(column, justify="right" if column in numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    return drawn


class PlainConsole(Console):
    """Shows every string as text: without markup, and without characters that move the cursor or reverse the text."""

    def render_str(self, text: str, *, style: str | Style = "", **options: Any) -> Text:
        return Text(plain(text), style=style, justify=options.get("justify"), overflow=options.get("overflow"))


def console(*, to_stderr: bool = False) -> Console:
    shown = PlainConsole(stderr=to_stderr, highlight=False)
    if not shown.is_terminal:
        shown.width = 120  # a pipe has no width; 80 columns would break names that users search for
    return shown


def show(text: str) -> None:
    """Prints a line on standard output, unchanged except for the characters that `plain` removes."""
    sys.stdout.write(f"{plain(text)}\n")


def show_json(value: Any) -> None:
    """Prints one line of JSON on standard output; control characters are escaped, so that nothing is lost and no
    terminal interprets it."""
    sys.stdout.write(escaped(pydantic_core.to_json(value).decode()) + "\n")


def complain(text: str) -> None:
    """Prints a line on standard error."""
    sys.stderr.write(f"{plain(text)}\n")
