"""TLS without a proxy in front, over real sockets."""

import asyncio
import logging
import os
import socket
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.interfaces.doors import World
from tests.interfaces.http.listening import Listening, listening
from tests.interfaces.http.test_framing import REST, sized

from stoa.domain.errors import InvalidInput
from stoa.interfaces.http.sockets import bound
from stoa.interfaces.http.tls import ServerTls


def write_pair(folder: Path, name: str, password: bytes | None = None) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 with the common name `name`, and its key."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    sealed = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed))
    return paths


def _touch(*paths: Path) -> None:
    """The next second, for file systems that count in them."""
    for path in paths:
        later = path.stat().st_mtime + 1
        os.utime(path, (later, later))


async def _shown(server: Listening, version: ssl.TLSVersion | None = None) -> tuple[str, str | None, bytes]:
    """Common name of the certificate, ALPN's choice, and the answer to a call."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    if version is not None:
        context.maximum_version = version
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    plain = writer.get_extra_info("ssl_object")
    der = plain.getpeercert(binary_form=True)
    name = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    writer.write(sized(*REST, b"Connection: close"))
    answer = await reader.read()
    writer.close()
    return str(name), plain.selected_alpn_protocol(), answer


async def test_tls_serves_calls_and_chooses_http_1_1(world: World, tmp_path: Path) -> None:
    async with listening(world, tls=write_pair(tmp_path, "one")) as server:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            name, protocol, answer = await _shown(server, version)
            assert (name, protocol) == ("one", "http/1.1")
            assert answer.startswith(b"HTTP/1.1 200") and b"42" in answer


async def test_tls_certificate_is_replaced_when_its_files_change(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = write_pair(tmp_path, "one")
    async with listening(world, tls=paths) as server:
        write_pair(tmp_path, "two")
        _touch(*paths)
        await server.server.on_tick(0)
        assert (await _shown(server))[0] == "two"
        good = paths[0].read_bytes()
        write_pair(tmp_path, "three")
        paths[0].write_bytes(good)  # in the middle of being replaced: key and certificate do not belong together
        _touch(*paths)
        await server.server.on_tick(0)
        assert (await _shown(server))[0] == "two"
        assert "was not replaced" in caplog.text
        caplog.clear()
        await server.server.on_tick(0)
        assert not [one for one in caplog.records if one.levelno >= logging.ERROR], "it is said once"
        write_pair(tmp_path, "four")
        server.server.reload()
        assert (await _shown(server))[0] == "four"


def test_tls_files_that_cannot_be_used_are_refused_by_name(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path, "one")
    for wrong in ((certificate, tmp_path / "none"), (tmp_path / "none", key), (key, certificate)):
        with pytest.raises(InvalidInput, match="TLS_CERT="):
            ServerTls(*wrong)
    with pytest.raises(InvalidInput, match="no password"):
        ServerTls(*write_pair(tmp_path, "one", b"secret"))


def test_host_of_all_addresses_takes_ipv4_and_ipv6() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    (listener,) = bound("::", 0)
    with listener:
        listener.listen()
        for address in ("127.0.0.1", "::1"):
            with socket.create_connection((address, listener.getsockname()[1]), timeout=10):
                listener.accept()[0].close()


def test_host_that_is_one_address_is_that_one() -> None:
    (listener,) = bound("127.0.0.1", 0)
    listener.listen()
    with listener, pytest.raises(OSError, match="in use"):
        bound("127.0.0.1", listener.getsockname()[1])
