"""Sealed text that clients keep for the server: they can neither read nor change it (AES-256-GCM), and every replica
can open it."""

import base64
import binascii
import os
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE_BYTES = 12


class BrokenSeal(Exception):
    """The text was not sealed with this secret, purpose and binding."""


class Seal:
    """Seals and opens text. `secret`: at least 32 random bytes, the same on all replicas. `purpose`: text that is
    sealed for one purpose opens for no other. `prefix`: the beginning of every sealed text."""

    def __init__(self, secret: bytes, purpose: bytes, prefix: str) -> None:
        self._cipher = AESGCM(HKDF(SHA256(), 32, salt=None, info=purpose).derive(secret))
        self._purpose = purpose
        self._prefix = prefix

    def close(self, payload: bytes, binding: bytes) -> str:
        """The sealed payload, in letters, digits and `-_.=`. `open` needs the same `binding`."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, payload, self._purpose + binding)
        return self._prefix + base64.urlsafe_b64encode(sealed).decode("ascii")

    def open(self, text: Any, binding: bytes) -> bytes:
        """The payload of a sealed text. Raises BrokenSeal."""
        if not isinstance(text, str) or not text.startswith(self._prefix):
            raise BrokenSeal
        encoded = text[len(self._prefix) :]
        try:
            sealed = base64.b64decode(encoded, altchars=b"-_", validate=True)
            if base64.urlsafe_b64encode(sealed).decode("ascii") != encoded:
                raise BrokenSeal  # a second spelling of the same bytes
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self._purpose + binding)
        except (binascii.Error, InvalidTag, ValueError) as caught:
            raise BrokenSeal from caught
