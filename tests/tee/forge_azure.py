"""Azure's TPM quotes over the tests' own hardware reports: genuine in form, with any one thing wrong.

Written from the formats alone, apart from the verifier. `AzureForgery().evidence()` verifies under `ANCHORS` at `NOW`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from tests.tee import forge_dcap, forge_snp
from tests.tee.forge_dcap import Forgery
from tests.tee.forge_snp import SnpForgery, rsa_key
from vml.tee import AzureCollateral, Evidence, Kind, TrustAnchors

NOW = forge_snp.NOW
ANCHORS = TrustAnchors((*forge_snp.ANCHORS.roots, forge_dcap.root_of()))
NONCE = hashlib.sha256(b"nonce").digest()
PCRS = tuple(hashlib.sha256(bytes([index])).digest() for index in range(24))
USER_DATA = hashlib.shake_128(b"user data").digest(64)

Change = Callable[[dict[str, Any]], object]


def word(value: int) -> bytes:
    return value.to_bytes(4, "little")


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def number(value: int) -> str:
    return base64url(value.to_bytes(-(-value.bit_length() // 8), "big")).rstrip("=")


def jwk(name: str, key: rsa.RSAPrivateKey, *operations: str) -> dict[str, Any]:
    numbers = key.public_key().public_numbers()
    made = {"kid": name, "key_ops": list(operations), "kty": "RSA"}
    return {**made, "e": number(numbers.e), "n": number(numbers.n)}


def nothing(item: Any) -> None:
    return None


@dataclass(frozen=True)
class AzureForgery:
    """What is to differ. `item` changes the JSON object, `runtime` the runtime data, `hcl` bytes of the HCL report."""

    tdx: bool = False
    old: bool = False
    snp: SnpForgery = field(default_factory=SnpForgery)
    quote: Forgery = field(default_factory=Forgery)
    runtime: Change = nothing
    runtime_text: Callable[[bytes], bytes] = lambda text: text
    item: Change = nothing
    text: Callable[[str], str] = lambda text: text
    hcl: Mapping[int, bytes] = field(default_factory=dict)
    hcl_end: bytes = bytes(200)
    report_data: Callable[[bytes], bytes] = lambda runtime: hashlib.sha256(runtime).digest() + bytes(32)
    nonce: bytes = NONCE
    selected: tuple[int, ...] = tuple(range(24))
    message: Callable[[bytes], bytes] = lambda message: message
    pcrs: tuple[bytes, ...] = PCRS
    signer: str = "tpm"

    def runtime_data(self) -> bytes:
        made: dict[str, Any] = {
            "keys": [jwk("HCLAkPub", rsa_key("tpm"), "sign"), jwk("HCLEkPub", rsa_key("ek"), "encrypt")],
            "vm-configuration": {"secure-boot": True, "tpm-enabled": True},
            "user-data": USER_DATA.hex().upper(),
        }
        self.runtime(made)
        return self.runtime_text(json.dumps(made, separators=(",", ":")).encode())

    def hcl_report(self, hardware: bytes) -> bytes:
        runtime = self.runtime_data()
        header = b"HCLA" + word(2) + word(1236 + len(runtime)) + word(2) + bytes(16)
        request = word(20 + len(runtime)) + word(1) + word(4 if self.tdx else 2) + word(1) + word(len(runtime))
        made = bytearray(header + hardware.ljust(1184, b"\x00") + request + runtime + self.hcl_end)
        for offset, value in self.hcl.items():
            made[offset : offset + len(value)] = value
        return bytes(made)

    def quoted(self) -> bytes:
        mask = sum(1 << index for index in self.selected)
        digest = hashlib.sha256(b"".join(PCRS[index] for index in self.selected)).digest()
        made = bytes.fromhex("ff54434780180022000b") + bytes(32)
        made += len(self.nonce).to_bytes(2, "big") + self.nonce
        made += bytes(7) + b"\x09" + bytes(8) + b"\x01" + bytes(8)
        made += bytes.fromhex("00000001000b03") + mask.to_bytes(3, "little") + b"\x00\x20" + digest
        return self.message(made)

    def evidence(self) -> Evidence:
        named = self.report_data(self.runtime_data())
        message = self.quoted()
        signature = rsa_key(self.signer).sign(message, padding.PKCS1v15(), SHA256())
        made: dict[str, Any]
        collateral: Any
        if self.tdx:
            quote = replace(self.quote, body={**self.quote.body, 520: named}).evidence()
            hcl, collateral = self.hcl_report(bytes(1024)), quote.collateral
            made = {"version": 1, "hcl_report": base64url(hcl), "td_quote": base64url(quote.data)}
        else:
            snp = replace(self.snp, report_data=named)
            hcl, collateral = self.hcl_report(snp.report()), snp.snp_collateral()
            made = {"version": 2, "hcl_report": base64url(hcl), "vcek": base64url(collateral.vek)}
        made["tpm_quote"] = {
            "signature": signature.hex(),
            "message": message.hex(),
            "pcrs": [value.hex() for value in self.pcrs],
        }
        if self.old:
            made = {
                "quote": {
                    "signature": list(signature),
                    "message": list(message),
                    "pcrs": [list(value) for value in self.pcrs],
                },
                "report": list(hcl),
                "vcek": pem(collateral.vek),
            }
        self.item(made)
        return Evidence(Kind.AZURE, self.text(json.dumps(made)).encode(), AzureCollateral(collateral))


def pem(der: bytes) -> str:
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"
