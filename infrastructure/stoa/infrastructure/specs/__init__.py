"""Fetching API descriptions from files and over HTTP."""

from stoa.infrastructure.specs.by_scheme import SpecSourceByScheme
from stoa.infrastructure.specs.files import FileSpecSource
from stoa.infrastructure.specs.http import HttpSpecSource

__all__ = ["FileSpecSource", "HttpSpecSource", "SpecSourceByScheme"]
