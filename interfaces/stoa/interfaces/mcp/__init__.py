"""The Model Context Protocol engine: bytes and headers in, bytes out; no sockets, no framework.

`engine.py` is the map: what a request passes, in order, and which method is answered where.
"""
