"""Calling REST back ends over HTTP."""

from stoa.infrastructure.rest.backend import RestBackend

__all__ = ["RestBackend"]
