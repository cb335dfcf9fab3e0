"""The `stoa` command."""

import atexit
import gc
import sys

from stoa.interfaces.cli.app import run


def main() -> None:
    atexit.register(gc.freeze)  # as it ends Python collects garbage among all objects: half a second, for nothing
    sys.exit(run())
