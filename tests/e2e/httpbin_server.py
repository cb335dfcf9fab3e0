"""httpbin on a free loopback port, which it prints; run as a process, because importing it warns."""

from httpbin import app  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
from werkzeug.serving import WSGIRequestHandler, make_server

if __name__ == "__main__":
    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()
