"""Streamable HTTP as an ASGI application, and stdio."""
