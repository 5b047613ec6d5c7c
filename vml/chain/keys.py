"""Keys that sign transactions: an encrypted file or the environment, never the command line.

Arguments of a process can be read by everybody on the machine and stay in a shell's history. So a key comes from a
keystore file (Ethereum's encrypted JSON, as geth, foundry and others write it), whose password comes from
``VML_KEYSTORE_PASSWORD`` or a prompt, or it comes from ``VML_PRIVATE_KEY``. The embedded EVM needs none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vml.errors import BackendUnavailable, ChainError

PRIVATE_KEY, PASSWORD = "VML_PRIVATE_KEY", "VML_KEYSTORE_PASSWORD"
MAX_KEYSTORE_BYTES = 1 << 16
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class Signer:
    """An account that can sign. Printing it prints its address only.

    Args:
        address: with checksum.
    """

    address: str
    _account: Any = field(repr=False)

    def sign(self, transaction: Mapping[str, Any]) -> bytes:
        """The signed bytes of a transaction.

        Raises:
            ChainError: a field does not fit.
        """
        try:
            return bytes(self._account.sign_transaction(dict(transaction)).raw_transaction)
        except (TypeError, ValueError) as error:
            raise ChainError(f"the transaction cannot be signed: {error}") from None

    def sign_message(self, domain: bytes, message: bytes) -> bytes:
        """The signature of a message of EIP-712: 65 bytes r, s, v.

        Args:
            domain: 32-byte domain separator.
            message: 32-byte struct hash.
        """
        from eth_account.messages import SignableMessage

        return bytes(self._account.sign_message(SignableMessage(b"\x01", domain, message)).signature)


def recover(domain: bytes, message: bytes, signature: bytes) -> str:
    """Whose signature of an EIP-712 message this is: an address with checksum.

    Args:
        domain: 32-byte domain separator.
        message: 32-byte struct hash.
        signature: 65 bytes r, s, v; s in the lower half, v 27 or 28, as contracts take it.

    Raises:
        ValueError: it is nobody's, or not in this form.
    """
    from eth_account.messages import SignableMessage

    if len(signature) != 65 or signature[64] not in (27, 28) or int.from_bytes(signature[32:64], "big") > HALF_ORDER:
        raise ValueError("a signature is r, s and v: 65 bytes, s in the lower half of the order, v 27 or 28")
    try:
        return str(_accounts().recover_message(SignableMessage(b"\x01", domain, message), signature=signature))
    except Exception:  # the library's own errors; none of them says more
        raise ValueError("the signature is nobody's") from None


def from_private_key(key: str) -> Signer:
    """The account of a private key.

    Raises:
        ValueError: not 64 hex digits, or no key of the curve; the message never quotes it.
    """
    if not _KEY.fullmatch(key.strip()):
        raise ValueError("a private key is 64 hex digits, with or without 0x")
    try:
        account = _accounts().from_key(key.strip())
    except Exception:  # whatever is raised may quote the key
        raise ValueError("that number is no private key of the curve") from None
    return Signer(account.address, account)


def from_keystore(path: Path, password: str) -> Signer:
    """The account of an encrypted keystore file.

    Raises:
        ValueError: not such a file, or the wrong password.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_KEYSTORE_BYTES + 1)
    try:
        stored = json.loads(data) if len(data) <= MAX_KEYSTORE_BYTES else None
    except (RecursionError, ValueError):
        stored = None
    if not isinstance(stored, dict) or not {"crypto", "Crypto"} & stored.keys():
        raise ValueError(f"{path} is no keystore: encrypted JSON with a member crypto")
    try:
        key = _accounts().decrypt(stored, password)
    except ValueError as error:
        wrong = "MAC mismatch" in str(error)
        reason = "the password is wrong" if wrong else "it is damaged, or encrypted in a way that is not known here"
        raise ValueError(f"{path} cannot be opened: {reason}") from None
    except (AttributeError, KeyError, TypeError, NotImplementedError):
        raise ValueError(f"{path} cannot be opened: it is damaged, or of another version than 3") from None
    account = _accounts().from_key(key)
    return Signer(account.address, account)


def find(
    keystore: Path | None, environment: Mapping[str, str], prompt: Callable[[], str] | None = None
) -> Signer | None:
    """The account to sign with.

    Args:
        keystore: an encrypted file, which goes before the environment's key.
        environment: of the process.
        prompt: asks for the file's password where the environment has none; None where nobody can be asked.

    Returns:
        None where neither a file nor a key is given.

    Raises:
        ValueError: a key or file that is none, or no password.
        OSError: the file cannot be read.
    """
    if keystore is None:
        key = environment.get(PRIVATE_KEY, "")
        return from_private_key(key) if key else None
    password = environment.get(PASSWORD)
    if password is None:
        if prompt is None:
            raise ValueError(f"{keystore} needs its password in {PASSWORD}, or a terminal to ask for it")
        password = prompt()
    return from_keystore(keystore, password)


def _accounts() -> Any:
    try:
        from eth_account import Account
    except ImportError as error:
        raise BackendUnavailable("eth-account is missing: pip install 'vml[chain]'") from error
    return Account
