"""The image: built by its Dockerfile with buildah, and run as a pod would run it.

No registry of images is needed: the base is made of Debian's packages and has the Dockerfile's name for it. Nor is a
container runtime: the process gets the image's root file system read-only, its user, its variables and its command.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.deploy.provider import Provider, providing
from tests.e2e.manifests import tool
from tests.e2e.processes import Upstream, until
from tests.live.servers import INSTALLED, IS_REQUIRED, REPOSITORY, free_port

BASE = INSTALLED / "image-base" / "base.tar"
NAME = "docker.io/library/python:3.11-slim-bookworm"
USER = 10001
MEGABYTE = 1_000_000
_AS_A_POD = r"""
set -e
root=$1 writable=$2 catalogue=$3
shift 3
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --bind "$writable" "$root/var/lib/stoa"
mount --bind "$catalogue" "$root/mnt"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot --userspec=10001:10001 "$root" /usr/bin/env -i "$@"
"""


@dataclass(frozen=True, slots=True)
class Image:
    root: Path
    config: dict[str, Any]

    def command(self, folder: Path, environment: dict[str, str], arguments: list[str]) -> list[str]:
        """Runs `arguments` in the image. `folder` has the pod's volumes: `data` and `catalogue`."""
        (folder / "catalogue").mkdir(exist_ok=True)
        if not (folder / "data").exists():
            (folder / "data").mkdir(mode=0o777)
            os.chmod(folder / "data", 0o777)  # as Kubernetes makes an emptyDir
        variables = [*self.config["Env"], *(f"{name}={value}" for name, value in environment.items())]
        pod = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _AS_A_POD, "pod"]
        return [*pod, str(self.root), str(folder / "data"), str(folder / "catalogue"), *variables, *arguments]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    if not (BASE.exists() and shutil.which("buildah") and os.geteuid() == 0):
        reason = "the image needs root, buildah and a base; tools/services/install.sh image makes it"
        pytest.fail(reason) if IS_REQUIRED else pytest.skip(reason)
    folder = tmp_path_factory.mktemp("image")
    buildah = [
        "buildah",
        "--root",
        str(folder / "storage"),
        "--runroot",
        str(folder / "run"),
        "--storage-driver",
        "vfs",
    ]

    def run(*arguments: str) -> str:
        done = subprocess.run([*buildah, *arguments], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout.strip()

    base = run("from", "scratch")
    run("add", "--quiet", base, str(BASE), "/")
    run("commit", "--quiet", "--rm", base, NAME)
    flags = "--pull-never --format docker --isolation chroot"
    for host in ("/etc/ssl/certs", "/etc/resolv.conf", "/etc/pip.conf"):  # to reach the registry of packages
        flags += f" --volume {host}:{host}:ro" if Path(host).exists() else ""
    make = ["make", "image", f"IMAGE_TOOL={' '.join(buildah)}", f"IMAGE_FLAGS={flags}", "IMAGE=stoa-test:0.1.0"]
    built = subprocess.run(make, cwd=REPOSITORY, capture_output=True, text=True, timeout=390, check=False)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    inspected = json.loads(run("inspect", "--type", "image", "localhost/stoa-test:0.1.0"))
    container = run("from", "--pull-never", "localhost/stoa-test:0.1.0")
    mounted = Path(run("mount", container))
    yield Image(mounted, inspected["Docker"]["config"])
    run("rm", "--all")
    shutil.rmtree(folder, ignore_errors=True)


def test_image_is_small(image: Image) -> None:
    """As registries store it and machines pull it."""
    archive = ["tar", "-C", str(image.root), "-cz", "."]
    with subprocess.Popen(archive, stdout=subprocess.PIPE) as tar:
        assert tar.stdout is not None
        size = sum(len(part) for part in iter(partial(tar.stdout.read, 1 << 20), b""))
    assert tar.returncode == 0
    assert size < 250 * MEGABYTE, size


def test_image_says_what_it_is(image: Image) -> None:
    labels = image.config["Labels"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert labels["org.opencontainers.image.revision"] == head.stdout.strip()
    assert labels["org.opencontainers.image.version"] == "0.1.0"
    assert labels["org.opencontainers.image.created"].endswith("Z")
    assert (image.config["Entrypoint"], image.config["Cmd"]) == (["stoa"], ["serve"])
    assert image.config["User"] == f"{USER}:{USER}"
    assert list(image.config["ExposedPorts"]) == ["8080/tcp"]
    assert list(image.config["Volumes"]) == ["/var/lib/stoa"]


def test_image_holds_nothing_that_builds_or_tests(image: Image) -> None:
    packages = {path.name for path in image.root.glob("opt/stoa/lib/python3.11/site-packages/*")}
    assert {"stoa", "aiokafka", "graphql", "grpc", "kubernetes_asyncio"} <= packages
    assert not packages & {"pip", "pytest", "hatchling", "mypy"}
    assert not (image.root / "src").exists()
    assert sorted(path.name for path in (image.root / "usr/share/stoa/policies").iterdir()) == [
        "authz.rego", "limits.rego", "visibility.rego",
    ]  # fmt: skip


def test_image_without_settings_ends_and_names_the_first(image: Image, tmp_path: Path) -> None:
    run = subprocess.run(
        image.command(tmp_path, {}, ["stoa", "serve"]), capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 78
    assert "PUBLIC_URL" in run.stderr


@pytest.fixture
def provider() -> Iterator[Provider]:
    with providing() as provider:
        yield provider


def test_image_serves_governed_calls_from_a_read_only_file_system(
    image: Image, provider: Provider, tmp_path: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "PORT": str(port),
        "PUBLIC_URL": url,
        "OIDC_ISSUER": provider.issuer,
        "OUTBOUND_NETWORKS": "127.0.0.0/8",
        "KAFKA_BOOTSTRAP_SERVERS": "none",
        "CATALOGUE_PATH": "/mnt",
    }
    with Upstream().listening() as upstream, (tmp_path / "log").open("wb") as log:
        (tmp_path / "catalogue").mkdir()
        manifest = tool("weather", f"{upstream.url}/weather")
        (tmp_path / "catalogue" / "tools.yaml").write_text(yaml.safe_dump(manifest), encoding="utf-8")
        command = [*image.config["Entrypoint"], *image.config["Cmd"]]
        process = subprocess.Popen(image.command(tmp_path, settings, command), stdout=log, stderr=log)
        try:
            until(lambda: process.poll() is not None or _is_ready(url), within=120)
            assert process.poll() is None, (tmp_path / "log").read_text()
            check = image.config["Healthcheck"]["Test"]
            assert check[0] == "CMD"
            healthy = subprocess.run(image.command(tmp_path, {"PORT": str(port)}, check[1:]), timeout=60, check=False)
            assert healthy.returncode == 0
            call = {"arguments": {}}
            stranger = httpx.post(f"{url}/mcp/v1/tools/weather/invoke", json=call, timeout=30)
            headers = {"Authorization": f"Bearer {provider.token(f'{url}/mcp')}"}
            answer = httpx.post(f"{url}/mcp/v1/tools/weather/invoke", json=call, headers=headers, timeout=30)
        finally:
            # The process in the image is the only child of the one that made its namespaces.
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(children[0]), signal.SIGTERM)
            code = process.wait(90)
        assert code == 0
        assert stranger.status_code == 401
        assert answer.status_code == 200, answer.text
        assert answer.json()["result"]["isError"] is False
    # Its folder is its own, although the volume is open to every user.
    data = tmp_path / "data" / "data"
    assert (data.stat().st_uid, data.stat().st_mode & 0o077) == (USER, 0)
    assert list((data / "outbox").glob("*.jsonl"))
    write = image.command(tmp_path, {}, ["touch", "/opt/stoa/x"])
    assert subprocess.run(write, capture_output=True, timeout=60, check=False).returncode != 0


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
