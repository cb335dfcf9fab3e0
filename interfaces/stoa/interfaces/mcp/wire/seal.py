"""Text that clients keep for the server: it can be neither read nor changed (AES-256-GCM), by any replica opened."""

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
    """It was not sealed like this: another secret, purpose, binding, or other text altogether."""


class Seal:
    """`secret`: at least 32 random bytes, the same on all replicas. `purpose`: what is sealed for one opens for no
    other. `prefix`: what the text begins with."""

    def __init__(self, secret: bytes, purpose: bytes, prefix: str) -> None:
        self._cipher = AESGCM(HKDF(SHA256(), 32, salt=None, info=purpose).derive(secret))
        self._purpose = purpose
        self._prefix = prefix

    def close(self, payload: bytes, binding: bytes) -> str:
        """`binding`: what must be the same when it is opened. Letters, digits and `-_.=` alone."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, payload, self._purpose + binding)
        return self._prefix + base64.urlsafe_b64encode(sealed).decode("ascii")

    def open(self, text: Any, binding: bytes) -> bytes:
        """Raises BrokenSeal."""
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
