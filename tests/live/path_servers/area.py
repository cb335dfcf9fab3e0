"""Answers with the path that a request means to Python: decoded and normalised, as its own file server does."""

import http.server
import posixpath
import sys
from urllib.parse import unquote, urlsplit


class Area(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answer = posixpath.normpath(unquote(urlsplit(self.path).path)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Area).serve_forever()
