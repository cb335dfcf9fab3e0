"""Requests to the client on the wire: requests of a session (handshake era) or rounds with sealed state (stateless
era)."""
