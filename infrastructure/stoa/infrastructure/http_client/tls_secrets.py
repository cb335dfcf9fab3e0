"""TLS contexts from secrets: an authority of one's own, and a client certificate (mTLS)."""

import os
import ssl
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple

from stoa.application.ports import CredentialSource
from stoa.domain.access.identity import TenantId
from stoa.domain.errors import BackendUnavailable
from stoa.domain.operations.binding import SecretReference, TlsSecrets
from stoa.infrastructure.http_client.tls import http_context


class _Material(NamedTuple):
    """PEM texts."""

    authorities: str | None
    certificate: str | None
    key: str | None


class TlsContexts:
    """One context for each tenant and its secrets, so that the tools of a back end share connections. The secrets are
    read for each call: a renewed certificate is used without a restart."""

    def __init__(self, credentials: CredentialSource) -> None:
        self._credentials = credentials
        self._contexts: dict[tuple[TenantId | None, TlsSecrets], tuple[_Material, ssl.SSLContext]] = {}

    def of(self, tenant: TenantId | None, secrets: TlsSecrets) -> ssl.SSLContext:
        """The context of the gateway's own trust store where no secret is named. Raises BackendUnavailable for secrets
        that are missing, or no certificates."""
        if secrets == TlsSecrets():
            return http_context()
        material = self._material(tenant, secrets)
        known = self._contexts.get((tenant, secrets))
        if known is not None and known[0] == material:
            return known[1]
        context = _context(material)
        self._contexts[tenant, secrets] = (material, context)
        return context

    def _material(self, tenant: TenantId | None, secrets: TlsSecrets) -> _Material:
        def entry(reference: SecretReference | None, name: str) -> str | None:
            return None if reference is None else self._credentials.read(tenant, reference, name)

        client = secrets.client
        return _Material(entry(secrets.ca, "ca.crt"), entry(client, "tls.crt"), entry(client, "tls.key"))


def _context(material: _Material) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=material.authorities)
        if material.certificate is not None and material.key is not None:
            with _file(f"{material.certificate}\n{material.key}") as path:
                context.load_cert_chain(path, password=lambda: "")  # else OpenSSL asks at the terminal
    except (ssl.SSLError, ValueError):
        message = "The secrets for TLS are not PEM: store ca.crt, or tls.crt with tls.key, as PEM without a password"
        raise BackendUnavailable(message) from None
    context.set_alpn_protocols(["http/1.1"])
    return context


@contextmanager
def _file(text: str) -> Generator[str]:
    """OpenSSL reads certificates from files only; this one is memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("certificate", os.MFD_CLOEXEC), "w") as memory:
            memory.write(text)
            memory.flush()
            yield f"/proc/self/fd/{memory.fileno()}"
    else:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(text)
            file.flush()
            yield file.name
