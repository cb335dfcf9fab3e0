"""HTTP servers that are not Python's, and one that is: each answers a GET with the path as it understands it."""

import os
import shutil
import sys
from pathlib import Path

from tests.live.servers import INSTALLED, LiveServer, answers

SOURCES = Path(__file__).parent / "path_servers"


class PathServer(LiveServer):
    start_seconds = 180.0  # one of them is compiled

    def is_ready(self) -> bool:
        return answers(self.url)


class Python(PathServer):
    name = "python"

    @classmethod
    def is_installed(cls) -> bool:
        return True

    def command(self) -> list[str]:
        return [sys.executable, str(SOURCES / "area.py"), str(self.port)]


class Node(PathServer):
    name = "node"

    @classmethod
    def is_installed(cls) -> bool:
        return shutil.which("node") is not None

    def command(self) -> list[str]:
        return ["node", str(SOURCES / "area.js"), str(self.port)]


class Java(PathServer):
    name = "java"

    @classmethod
    def is_installed(cls) -> bool:
        return shutil.which("java") is not None

    def command(self) -> list[str]:
        return ["java", str(SOURCES / "Area.java"), str(self.port)]


class Go(PathServer):
    name = "go"
    own = INSTALLED / "go" / "go" / "bin" / "go"

    @classmethod
    def is_installed(cls) -> bool:
        return shutil.which("go") is not None or cls.own.exists()

    def command(self) -> list[str]:
        go = shutil.which("go") or str(self.own)
        program = self.folder / "area"
        return ["sh", "-c", f'"{go}" build -o "{program}" "{SOURCES / "area.go"}" && exec "{program}" {self.port}']


class Nginx(PathServer):
    name = "nginx"
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

    @classmethod
    def is_installed(cls) -> bool:
        return cls.program is not None

    def command(self) -> list[str]:
        settings = self.folder / "nginx.conf"
        settings.write_text((SOURCES / "nginx.conf").read_text().replace("PORT", str(self.port)))
        return [str(self.program), "-c", str(settings), "-p", str(self.folder)]


class Uvicorn(PathServer):
    """On h11, the strictest reader and writer of HTTP in Python."""

    name = "h11"

    @classmethod
    def is_installed(cls) -> bool:
        return True

    def command(self) -> list[str]:
        options = ["--http", "h11", "--host", "127.0.0.1", "--port", str(self.port), "--app-dir", str(SOURCES)]
        return [sys.executable, "-m", "uvicorn", *options, "area_asgi:app"]
