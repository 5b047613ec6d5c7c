"""The server's key, and the receipts that it signs: one a claim, counted.

The key is on secp256k1, which contracts check for little gas, or on P-256, which signs in a fraction of the time.
Nothing attests it: a receipt makes a server accountable for an answer, and proves nothing of the answer. Sequence
numbers come in blocks that are written down before the first of a block is used, so that no number is used twice,
whatever happens to the process; after a restart the rest of a block is skipped.

One process at a time counts for one data folder, and reads the count when it holds the folder's lock. Two servers with
one key need epochs of their own: servers that share a database notice where they have not (`Store.sign_with`).
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from vml import files
from vml.client import receipts
from vml.serve.refusals import StoreUnavailable
from vml.tee.binding import Algorithm, Receipt, key_id, public_key_of, require_installed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

KEY_FILE, COUNT_FILE, FOLDER_FILE = "receipt-key.pem", "receipt-count.json", "receipt-folder"
KEY_VARIABLE = "VML_SERVE_KEY"
MAX_KEY_BYTES = 1 << 14
BLOCK = 4096
"""So many numbers are written down at once."""


class Signer:
    """Signs receipts.

    Args:
        key: on secp256k1 or P-256.
        folder: where the count is kept.
        epoch: of the key, at least 1; it rises when a key is used anew somewhere else.
        clock: unix seconds.

    Raises:
        ValueError: the count is damaged.
    """

    def __init__(
        self,
        key: ec.EllipticCurvePrivateKey,
        folder: Path,
        *,
        epoch: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.public_key, self.algorithm = public_key_of(key), _algorithm(key)
        self.key_id = key_id(self.algorithm, self.public_key)
        self.epoch = epoch
        self._key, self._folder, self._clock = key, folder, clock
        self._lock = threading.Lock()
        self._next = self._reserved = 0  # none: the count is read when the first is taken
        self._read()

    def sign(self, claim: bytes) -> receipts.SignedReceipt:
        """The next receipt.

        Args:
            claim: 32-byte digest.

        Raises:
            StoreUnavailable: the count cannot be written.
        """
        with self._lock:
            if self._next == self._reserved:
                self._reserve()
            sequence = self._next
            self._next += 1
        receipt = Receipt(claim, self.key_id, self.epoch, sequence, int(self._clock()))
        return receipts.sign(receipt, self.algorithm, self.public_key, self._key)

    def _name(self) -> str:
        return f"{self.key_id.hex()}/{self.epoch}"

    def _counts(self) -> dict[str, int]:
        path = self._folder / COUNT_FILE
        if not path.exists():
            return {}
        value = json.loads(files.read_inside(self._folder, COUNT_FILE, max_bytes=MAX_KEY_BYTES))
        if not isinstance(value, dict) or not all(type(count) is int and count > 0 for count in value.values()):
            raise ValueError(f"{path} is damaged; to go on counting, give the key a new --epoch and remove the file")
        return value

    def _read(self) -> int:
        return self._counts().get(self._name(), 1)

    def _reserve(self) -> None:
        """Write a block down, from the count as it stands: whoever came before may have gone on counting."""
        try:
            first = self._read()
            counts = self._counts() | {self._name(): first + BLOCK}
            files.write_atomic(self._folder / COUNT_FILE, json.dumps(counts).encode(), mode=0o600)
        except OSError as error:
            raise StoreUnavailable(f"the count of receipts cannot be written: {error.strerror}") from None
        except ValueError as error:
            raise StoreUnavailable(str(error)) from None
        self._next, self._reserved = first, first + BLOCK


def load_key(
    folder: Path, file: Path | None = None, environment: Mapping[str, str] = os.environ
) -> ec.EllipticCurvePrivateKey:
    """The server's key: from a file, from the environment, or the data folder's own, made when there is none.

    Args:
        folder: the data folder.
        file: PEM (PKCS #8 or SEC 1, without a password); None looks further.
        environment: ``VML_SERVE_KEY`` may hold the same text.

    Raises:
        ValueError: no such key, or a file that others can read.
        OSError: it cannot be read or written.
        BackendUnavailable: the extra ``tee`` is not installed.
    """
    require_installed()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if file is None and KEY_VARIABLE in environment:
        return _parse(environment[KEY_VARIABLE].encode(), KEY_VARIABLE)
    path = folder / KEY_FILE if file is None else file
    if file is None and not path.exists():
        made = ec.generate_private_key(ec.SECP256K1())
        pem = made.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        files.write_atomic(path, pem, mode=0o600)
        return made
    with path.open("rb") as handle:
        if os.fstat(handle.fileno()).st_mode & 0o077:
            raise ValueError(f"{path}: others can read this key; chmod 600 it")
        data = handle.read(MAX_KEY_BYTES)
    return _parse(data, str(path))


def folder_name(folder: Path) -> str:
    """The name of a data folder, 32 hex digits: made when it has none.

    Raises:
        ValueError: the file is damaged.
        OSError: it cannot be read or written.
    """
    path = folder / FOLDER_FILE
    if not path.exists():
        files.write_atomic(path, token_hex(16).encode(), mode=0o600)
    name = files.read_inside(folder, FOLDER_FILE, max_bytes=64).decode("ascii", "replace")
    if not re.fullmatch("[0-9a-f]{32}", name):
        raise ValueError(f"{path} is damaged: it names the data folder with 32 hex digits")
    return name


def _parse(data: bytes, where: str) -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError):
        raise ValueError(f"{where}: no PEM of a private key without a password") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256K1 | ec.SECP256R1):
        raise ValueError(f"{where}: a key on secp256k1 or P-256 is needed")
    return key


def _algorithm(key: ec.EllipticCurvePrivateKey) -> Algorithm:
    """How a key signs, by its curve."""
    return Algorithm.SECP256K1 if key.curve.name == "secp256k1" else Algorithm.P256
