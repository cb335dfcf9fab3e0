"""Manifests from files and folders."""

from stoa.infrastructure.manifest_files.source import FileToolSource

__all__ = ["FileToolSource"]
