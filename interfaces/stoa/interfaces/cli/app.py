"""The commands, and what they have in common: settings, the container, and errors as a line and an exit code."""

from cyclopts import App
from pydantic import ValidationError
from pydantic_settings import SettingsError

from stoa.domain.errors import NotAuthenticated, StoaError
from stoa.interfaces.cli.call import call
from stoa.interfaces.cli.common import complain
from stoa.interfaces.cli.convert import convert
from stoa.interfaces.cli.demo import demo
from stoa.interfaces.cli.policy import app as policy
from stoa.interfaces.cli.serve import serve
from stoa.interfaces.cli.stdio import stdio
from stoa.interfaces.cli.token import token
from stoa.interfaces.cli.tools import tools
from stoa.interfaces.cli.usage import app as usage
from stoa.interfaces.errors import wire_error
from stoa.interfaces.settings import describe_settings_error

app = App(
    name="stoa",
    help="STOA MCP Gateway: APIs as governed Model Context Protocol tools.",
    version_flags=["--version"],
)
for _command in (demo, serve, stdio, convert, tools, call, token):
    app.command(_command)
app.command(policy)
app.command(usage)


def run(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code. Errors are one line on standard error."""
    try:
        return int(app(arguments, result_action="return_value") or 0)
    except StoaError as refused:
        is_nobody = isinstance(refused, NotAuthenticated) and refused.is_missing
        remedy = "; call with --role ROLE --tenant TENANT, or set STOA_TOKEN" if is_nobody else ""
        complain(f"stoa: {refused.message}{remedy}")
        return wire_error(refused).exit_code
    except (ValidationError, SettingsError) as wrong:  # of the settings
        complain(f"stoa: configuration: {describe_settings_error(wrong)}")
        return 78
