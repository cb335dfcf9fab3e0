"""Calling REST back ends over HTTP with aiohttp."""

from stoa.infrastructure.rest.backend import RestBackend

__all__ = ["RestBackend"]
