"""Adapters that keep or read plain files: manifests, API descriptions, secrets, one-time marks."""
