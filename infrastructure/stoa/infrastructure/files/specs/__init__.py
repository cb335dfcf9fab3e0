"""API descriptions from files; `SpecSourceByScheme` sends URLs to another source."""

from stoa.infrastructure.files.specs.by_scheme import SpecSourceByScheme
from stoa.infrastructure.files.specs.files import FileSpecSource
from stoa.infrastructure.files.specs.folder import description_in

__all__ = ["FileSpecSource", "SpecSourceByScheme", "description_in"]
