"""The release of this package."""

from importlib.metadata import version


def release() -> str:
    """The version of the installed package."""
    return version("stoa-mcp-gateway")
