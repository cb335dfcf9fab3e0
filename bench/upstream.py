"""The back end of every measured system: nginx answering GET /items/{id}?q=... from its configuration alone, and any
POST /graphql with one and the same item."""

import os
import re
import shutil
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench.errors import CannotMeasure
from bench.processes import Child, Usage, free_port

# The one place that knows the answer; `expected` says the same in Python.
_CONFIGURATION = """
daemon off;
worker_processes {workers};
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port} reuseport;
    location ~ ^/items/(?<item>[0-9]+)$ {{
      default_type application/json;
      return 200 '{{"id":$item,"name":"Item $item","query":"$arg_q","price":12.5,"inStock":true}}';
    }}
    location = /graphql {{
      default_type application/json;
      set $same '{{"id":123456,"name":"Item 123456","query":"lamp-123456","price":12.5,"inStock":true}}';
      return 200 '{{"data":{{"get_item":$same}}}}';
    }}
    location = /status {{ stub_status; }}
    location / {{ return 404; }}
  }}
}}
"""


def expected(item: int, query: str) -> dict[str, Any]:
    return {"id": item, "name": f"Item {item}", "query": query, "price": 12.5, "inStock": True}


class Upstream:
    """nginx on a free loopback port."""

    def __init__(self, directory: Path, workers: int = 1) -> None:
        self._directory = directory
        self._workers = workers
        self._port = free_port()
        self._child: Child | None = None
        self._questions = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if nginx is None:
            raise CannotMeasure("nginx is not installed; it is the upstream (Debian, Ubuntu: apt install nginx-light)")
        configuration = self._directory / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(directory=self._directory, port=self._port, workers=self._workers)
        )
        command = [nginx, "-p", str(self._directory), "-c", str(configuration)]
        self._child = Child(command, env={}, cwd=self._directory, log=self._directory / "nginx.log")
        self._child.wait_for_port(self._port, 10)

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()

    def usage(self) -> Usage:
        if self._child is None:
            raise CannotMeasure("nginx was not started")
        return self._child.usage()

    def requests(self) -> int:
        """How many requests nginx has seen, once no more come in: servers still work on calls that wrk gave up."""
        seen = self._seen()
        for _ in range(50):
            time.sleep(0.1)
            before, seen = seen, self._seen()
            if seen == before:
                return seen
        raise CannotMeasure("requests still reach nginx 5 s after the load has ended")

    def _seen(self) -> int:
        with urllib.request.urlopen(f"{self.url}/status", timeout=5) as answer:
            counters = re.search(r"^ *\d+ +\d+ +(\d+)", answer.read().decode(), re.MULTILINE)
        if counters is None:
            raise CannotMeasure("nginx's status page is not in the known form")
        self._questions += 1
        return int(counters[1]) - self._questions
