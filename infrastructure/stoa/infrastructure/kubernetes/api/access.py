"""Where the API server is and how it is asked: from a kubeconfig, or from the service account of the pod."""

import base64
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from stoa.infrastructure.kubernetes.api.errors import NO_ANSWER, ApiError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TOKEN_SECONDS = 60.0
"""Age from which the mounted token is read again: the kubelet replaces it before it expires."""


@dataclass(frozen=True, slots=True)
class ServerAccess:
    """The API server of one cluster."""

    url: str
    context: ssl.SSLContext
    authorization: Callable[[], Awaitable[str]]
    """Gives the Authorization header of a request; empty: none."""
    server_name: str | None = None
    """The name in the server's certificate, where it differs from the URL's host."""
    proxy: str | None = None


async def pod_access(folder: Path = SERVICE_ACCOUNT, environ: Mapping[str, str] = os.environ) -> ServerAccess:
    """By the service account that is mounted in `folder`. Raises ApiError outside a pod.

    kubernetes-asyncio can do this too, with 40 MiB of models of every kind that a pod would then hold for two files.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise ApiError(NO_ANSWER, "this is no pod: set KUBECONFIG_PATH")
    token, read_at = "", float("-inf")

    async def authorization() -> str:
        nonlocal token, read_at
        if time.monotonic() - read_at > _TOKEN_SECONDS:
            token, read_at = _text_of(folder / "token"), time.monotonic()
        return f"Bearer {token}"

    await authorization()
    address = f"[{host}]" if ":" in host else host
    return ServerAccess(f"https://{address}:{port}", _context(folder / "ca.crt"), authorization)


async def kubeconfig_access(path: Path) -> ServerAccess:
    """By the current context of a kubeconfig, with its exec plugins and authentication providers. Raises ApiError."""
    from kubernetes_asyncio import config
    from kubernetes_asyncio.client import Configuration  # 40 MiB, for people outside a cluster

    load = cast("Any", config).load_kube_config  # half of its parameters have annotations
    configuration: Any = Configuration()
    try:
        await load(config_file=str(path), client_configuration=configuration, persist_config=False)
        context = _context(configuration.ssl_ca_cert, is_verified=configuration.verify_ssl)
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
    except config.ConfigException as error:
        raise ApiError(NO_ANSWER, f"{path}: cannot be used as a kubeconfig: {error}") from error
    except Exception as error:  # its loader lets parser errors and failed plugins through
        raise ApiError(NO_ANSWER, f"{path}: cannot be used as a kubeconfig ({type(error).__name__})") from error

    async def authorization() -> str:
        token = await configuration.get_api_key_with_prefix("BearerToken")
        if token:
            return str(token).strip()
        if not configuration.username:
            return ""
        pair = f"{configuration.username}:{configuration.password or ''}"
        return f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"

    return ServerAccess(
        configuration.host.rstrip("/"), context, authorization, configuration.tls_server_name, configuration.proxy
    )


def _text_of(path: Path) -> str:
    """Raises ApiError for a file that is missing, unreadable or empty."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ApiError(NO_ANSWER, f"{path}: cannot be read ({type(error).__name__})") from error
    if not text:
        raise ApiError(NO_ANSWER, f"{path}: is empty")
    return text


def _context(authority: Path | str | None, *, is_verified: bool = True) -> ssl.SSLContext:
    """`authority`: the file with the certificates to trust; None: the system's. Raises ApiError."""
    try:
        context = ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise ApiError(NO_ANSWER, f"{authority}: holds no certificates ({type(error).__name__})") from error
    # Certificates of clusters often lack an extension that Python 3.13 demands by default.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
