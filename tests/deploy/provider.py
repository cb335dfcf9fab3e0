"""An OpenID provider for gateways under test: it publishes one key, and signs access tokens with it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey


class Provider(ThreadingHTTPServer):
    """On a loopback port."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Documents)
        self.issuer = f"http://127.0.0.1:{self.server_port}"
        self.key = ECKey.generate_key("P-256", {"use": "sig", "kid": "one", "alg": "ES256"})
        self.documents: dict[str, Any] = {
            "/.well-known/openid-configuration": {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"},
            "/keys": {"keys": [self.key.as_dict(private=False)]},
        }

    def token(self, audience: str) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": "smoke", "aud": audience, "iat": now, "exp": now + 300}
        claims |= {"tenant_id": "acme", "roles": ["viewer"]}
        return jwt.encode({"alg": "ES256", "kid": "one", "typ": "at+jwt"}, claims, self.key)


class _Documents(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        document = self.server.documents.get(self.path)
        self.send_response(404 if document is None else 200)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def providing() -> Iterator[Provider]:
    with Provider() as provider:
        thread = Thread(target=provider.serve_forever, args=(0.05,))
        thread.start()
        yield provider
        provider.shutdown()
        thread.join()
