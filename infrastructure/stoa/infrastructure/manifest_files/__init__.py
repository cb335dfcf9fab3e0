"""Manifests from files and folders."""

from stoa.infrastructure.manifest_files.document import DEFAULT_PRICES_FILE, read_document
from stoa.infrastructure.manifest_files.source import FileToolSource

__all__ = ["DEFAULT_PRICES_FILE", "FileToolSource", "read_document"]
