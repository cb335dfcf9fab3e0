"""Access tokens for back ends, from OAuth2 token endpoints over HTTP."""

from stoa.infrastructure.upstream_tokens.http_token_endpoint import HttpTokenEndpoint

__all__ = ["HttpTokenEndpoint"]
