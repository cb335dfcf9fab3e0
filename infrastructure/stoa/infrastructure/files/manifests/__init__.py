"""Manifests from files and folders."""

from stoa.infrastructure.files.manifests.document import DEFAULT_PRICES_FILE, read_document
from stoa.infrastructure.files.manifests.followed import FollowedToolSource
from stoa.infrastructure.files.manifests.source import FileToolSource

__all__ = ["DEFAULT_PRICES_FILE", "FileToolSource", "FollowedToolSource", "read_document"]
