"""The `stoa` command."""

import sys

from stoa.interfaces.cli.app import run


def main() -> None:
    sys.exit(run())
