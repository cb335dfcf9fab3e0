"""Errors of commands as a line and an exit code."""

from typing import NamedTuple

from pydantic import ValidationError
from pydantic_settings import SettingsError

from stoa.domain.errors import NotAuthenticated, StoaError
from stoa.interfaces.settings import describe_settings_error
from stoa.interfaces.wire.errors import wire_error

_BAD_CONFIGURATION = 78
"""EX_CONFIG of sysexits.h."""


class Failure(NamedTuple):
    """The failure of a command: a message for people and an exit code for scripts."""

    message: str
    exit_code: int


def failure_of(caught: Exception) -> Failure | None:
    """The message and exit code for an exception; None for a defect, whose traceback says more."""
    if isinstance(caught, StoaError):
        is_nobody = isinstance(caught, NotAuthenticated) and caught.is_missing
        remedy = "; call with --role ROLE --tenant TENANT, or set STOA_TOKEN" if is_nobody else ""
        return Failure(f"{caught.message}{remedy}", wire_error(caught).exit_code)
    if isinstance(caught, (ValidationError, SettingsError)):  # of the settings
        return Failure(f"configuration: {describe_settings_error(caught)}", _BAD_CONFIGURATION)
    return None
