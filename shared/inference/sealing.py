"""Inputs that may not be stored in the clear: sealed for as long as a worker needs them (AES-256-GCM, a key a run)."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.kernel.derive import derive
from shared.kernel.errors import IntegrityFault
from shared.kernel.ids import Ids

NONCE_BYTES = 12
_PURPOSE = "run-input"


class Sealer:
    """Seals and opens inputs. `secret_key` is the product's one; without it, or for another run, nothing opens."""

    def __init__(self, secret_key: bytes, ids: Ids) -> None:
        self._secret_key = secret_key
        self._ids = ids

    def seal(self, run_id: str, clear: bytes) -> bytes:
        """Return nonce ‖ ciphertext ‖ tag."""
        nonce = self._ids.random(NONCE_BYTES)
        return nonce + self._cipher(run_id).encrypt(nonce, clear, run_id.encode())

    def open(self, run_id: str, sealed: bytes) -> bytes:
        """Return what was sealed for this run. Raises `IntegrityFault`."""
        nonce, hidden = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return self._cipher(run_id).decrypt(nonce, hidden, run_id.encode())
        except (InvalidTag, ValueError) as error:
            raise IntegrityFault("a sealed input does not open") from error

    def _cipher(self, run_id: str) -> AESGCM:
        return AESGCM(derive(self._secret_key, _PURPOSE, run_id.encode()))
