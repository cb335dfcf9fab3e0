"""The commands, and their common handling of errors: a line and an exit code.

A command is imported when it runs, because the imports of one would cost each of the others a second.
"""

import sys

from cyclopts import App

from stoa.interfaces.release import release

COMMANDS = {
    "demo": ("demo:demo", "Start the gateway with demo tools, print how to connect, and make one call."),
    "doctor": ("doctor:doctor", "Check the configuration end to end. Exit code 1 when a check fails."),
    "serve": ("serve:serve", "Serve the catalogue over MCP and REST until interrupted."),
    "stdio": ("stdio:stdio", "Serve the catalogue over MCP to the program that starts this one."),
    "convert": (
        "convert:convert",
        "Show the tools that an API description becomes. Exit code 1 with `--strict` where anything is lost.",
    ),
    "changes": (
        "changes:changes",
        "Show what a new version of an API description changes, or approve it. Exit code 1 while one is held back.",
    ),
    "crds": ("crds:crds", "Print the CustomResourceDefinitions of the manifests that this gateway reads."),
    "preflight": (
        "preflight:preflight",
        "Load manifests as a gateway would, and show what it makes of them. Exit code 1 when there are errors.",
    ),
    "tools": (
        "tools:tools",
        "Show every tool of every tenant, and each problem with its file and field. Exit code 1 when there are errors.",
    ),
    "call": ("call:call", "Call a tool and print its answer. Exit code 1 when the tool answered with an error."),
    "token": ("token:token", "Print a development token that a gateway with the same DATA_DIR accepts."),
    "policy": ("policy:app", "Explain decisions and check policies."),
    "usage": ("usage:app", "What was called and what it cost, from the metering events in DATA_DIR."),
}
"""Module and attribute of each command, and the first sentence of its help."""


def app(arguments: list[str]) -> int | None:
    """Parses the arguments and runs the command that they name."""
    parser = App(
        name="stoa",
        help="STOA MCP Gateway: APIs as governed Model Context Protocol tools.",
        version=release,
        version_flags=["--version"],
    )
    for name, (path, summary) in COMMANDS.items():
        is_meant = name in arguments[:1]  # it is imported, and its own docstring says more
        parser.command(f"stoa.interfaces.cli.{path}", name=name, help=None if is_meant else summary)
    exit_code: int | None = parser(arguments, result_action="return_value")
    return exit_code


def run(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code. Errors are one line on standard error."""
    try:
        return int(app(sys.argv[1:] if arguments is None else arguments) or 0)
    except Exception as caught:
        from stoa.interfaces.cli.common import complain
        from stoa.interfaces.cli.failures import failure_of

        failure = failure_of(caught)
        if failure is None:
            raise
        complain(f"stoa: {failure.message}")
        return failure.exit_code
