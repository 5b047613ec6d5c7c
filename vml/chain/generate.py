"""ezkl's verifier of a circuit as a contract: Solidity from ezkl, compiled by us, with all that deploying it takes.

A folder holds

    NAME.sol        as ezkl wrote it; not ours to publish
    abi.json        of the contract
    bytecode        what creates it, 0x hex
    vka             the circuit as 32-byte words, where the contract is the one for all circuits
    manifest.json   what it is: model, scheme, layout, sizes, hashes, gas

The verifier for one circuit is cheaper to call, the one for all circuits is deployed once a chain: the same code for
every model, with the circuit as an argument.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vml import files
from vml.backends.ezkl.commitments import WORD
from vml.backends.ezkl.process import Engine
from vml.backends.ezkl.setup import Circuit
from vml.backends.ezkl.statement import ENGINE_VERSION
from vml.backends.types import Progress
from vml.chain import solc
from vml.chain.ezkl_adapter import DATA_LIMIT, Layout, Metadata, layout
from vml.errors import ChainError
from vml.keccak import keccak256

FORMAT = "vml-ezkl-verifier/1"
CODE_LIMIT = 24_576
"""Bytes of code a contract may have (EIP-170)."""

CREATION_LIMIT = 49_152
"""Bytes of code that may create one (EIP-3860)."""

FORMS = ("plain", "reusable")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
LENGTH = re.compile(r"eq\((0x[0-9a-f]+), proof\.length\)")
_COUNT_BYTES = 8


class TooLarge(ChainError):
    """A generated contract that no chain would take."""


@dataclass(frozen=True)
class Generated:
    """A verifier that can be deployed.

    Args:
        folder: where it is written.
        manifest: what ``manifest.json`` holds.
        creation: bytecode that creates it.
        vka: of the circuit; empty with the verifier for one circuit.
    """

    folder: Path
    manifest: Mapping[str, Any]
    creation: bytes
    vka: bytes

    @property
    def scheme(self) -> str:
        """Of the proofs it checks."""
        return str(self.manifest["scheme"])

    @property
    def layout(self) -> Layout:
        """How their instances read."""
        return Layout.from_json(self.manifest["layout"])

    @property
    def code_hash(self) -> bytes:
        """keccak-256 of the code that the deployed contract has."""
        return bytes.fromhex(self.manifest["code_hash"][2:])

    def metadata(self, verifier: bytes, vka: bytes | None = None) -> Metadata:
        """What the model's owner registers.

        Args:
            verifier: address of the deployed contract.
            vka: address of the deployed `vml.chain.ezkl_adapter.data_contract` of the VKA, where there is one.
        """
        if (vka is not None) != bool(self.vka):
            raise ValueError("the verifier for all circuits takes the address of a VKA, the one for one circuit none")
        if vka is None:
            return Metadata(self.layout, verifier, self.code_hash)
        return Metadata(self.layout, verifier, self.code_hash, vka, keccak256(self.vka))


def generate(
    circuit: Circuit,
    folder: Path,
    *,
    name: str = "Verifier",
    reusable: bool = False,
    progress: Progress | None = None,
) -> Generated:
    """Generate, compile and describe the verifier of a circuit.

    Args:
        circuit: with its keys, see `vml.backends.ezkl.setup.load`.
        folder: to create, or to replace whole.
        name: of the Solidity file.
        reusable: the verifier for all circuits instead of the one for this circuit.
        progress: called while the work goes on.

    Returns:
        What was written.

    Raises:
        BackendUnavailable: ezkl, Node or the compiler is missing.
        ProvingError: ezkl did not do it.
        TooLarge: no chain would take the contract.
        ChainError: it does not compile.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no name of a contract: letters, digits and underscores")
    solc.require_compiler()
    written, proof_bytes, vka = render(circuit, reusable, progress)
    if progress:
        progress("compiling the verifier", 0.0)
    compiled = solc.compile_one(written, f"{name}.sol")
    if progress:
        progress("compiling the verifier", 1.0)
    manifest = _manifest(circuit, name, compiled, proof_bytes, vka)
    require_size(manifest)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.folder_atomic(folder) as out:
        (out / f"{name}.sol").write_text(written, encoding="utf-8")
        (out / "abi.json").write_text(json.dumps(compiled.abi, indent=1) + "\n", encoding="utf-8")
        (out / "bytecode").write_text("0x" + compiled.creation.hex() + "\n", encoding="utf-8")
        if vka:
            (out / "vka").write_bytes(vka)
        (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return Generated(folder, manifest, compiled.creation, vka)


def load(folder: Path) -> Generated:
    """Read what `generate` wrote.

    Raises:
        ChainError: it is not there, or not what the manifest says.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        creation = bytes.fromhex((folder / "bytecode").read_text().strip().removeprefix("0x"))
        vka = (folder / "vka").read_bytes() if manifest["vka"] else b""
        found = Generated(folder, manifest, creation, vka)
        if manifest["format"] != FORMAT or keccak256(creation).hex() != manifest["creation_hash"][2:]:
            raise ValueError("the bytecode is not the manifest's")
        if vka and keccak256(vka).hex() != manifest["vka"]["digest"][2:]:
            raise ValueError("the VKA is not the manifest's")
        if not isinstance(found.layout, Layout) or len(found.code_hash) != WORD or not found.scheme:
            raise ValueError("the manifest is incomplete")
        return found
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ChainError(f"{folder} is no generated verifier ({error}): vml contract generate") from error


def render(circuit: Circuit, reusable: bool, progress: Progress | None = None) -> tuple[str, int, bytes]:
    """Have ezkl write a circuit's verifier.

    Args:
        circuit: with its keys.
        reusable: the verifier for all circuits.
        progress: called while the work goes on.

    Returns:
        Solidity, the length of a proof in bytes, and the VKA (empty unless `reusable`).

    Raises:
        BackendUnavailable: ezkl is not installed.
        ProvingError: it failed, or what it wrote is not what ezkl 23.0.5 writes.
    """
    with tempfile.TemporaryDirectory(prefix="vml-ezkl-") as scratch, Engine(progress=progress) as engine:
        work = Path(scratch)
        given: dict[str, Any] = {
            "vk": str(circuit.folder / "vk"),
            "settings": str(circuit.folder / "settings.json"),
            "srs": circuit.setup.path,
        }
        # Only the verifier for one circuit says how long a proof is; the other takes surplus bytes.
        plain = work / "plain.sol"
        engine.call("evm_verifier", stage="writing the verifier", solidity=str(plain), reusable=False, **given)
        lengths = LENGTH.findall(plain.read_text(encoding="utf-8"))
        if len(lengths) != 1 or int(lengths[0], 16) % WORD:
            raise ChainError("ezkl's verifier does not say how long a proof is; is this another release?")
        if not reusable:
            return plain.read_text(encoding="utf-8"), int(lengths[0], 16), b""
        whole, vka = work / "reusable.sol", work / "vka"
        engine.call("evm_verifier", stage="writing the verifier", solidity=str(whole), reusable=True, **given)
        engine.call("evm_vka", vka=str(vka), **given)
        return whole.read_text(encoding="utf-8"), int(lengths[0], 16), vka_words(vka.read_bytes())


def vka_words(data: bytes) -> bytes:
    """The words of a VKA out of ezkl's file, which counts them first: 8 bytes, little-endian.

    Raises:
        ChainError: another format.
    """
    count = int.from_bytes(data[:_COUNT_BYTES], "little")
    if count < 1 or len(data) != _COUNT_BYTES + count * WORD:
        raise ChainError("ezkl's VKA file is not a count and so many words; is this another release?")
    return data[_COUNT_BYTES:]


def _manifest(circuit: Circuit, name: str, compiled: solc.Compiled, proof_bytes: int, vka: bytes) -> dict[str, Any]:
    """Everything a deployer, a registrar and a reader want to know."""
    digests = b"".join(bytes.fromhex(digest) for digest in circuit.meta["parameter_digests"])
    keys = circuit.keys
    words = circuit.statement.instance_count
    return {
        "format": FORMAT,
        "name": name,
        "contract": compiled.contract,
        "form": FORMS[bool(vka)],
        "engine": f"ezkl {ENGINE_VERSION}",
        "compiler": {"solc": solc.VERSION, **{k: v for k, v in solc.SETTINGS.items() if k != "outputSelection"}},
        "scheme": keys.scheme,
        "selector": _hex(keccak256(keys.scheme.encode())[:4]),
        "model": _hex(circuit.identity),
        "vk_digest": _hex(keccak256(circuit.verifying_key)),
        "setup_id": circuit.setup.setup_id,
        "unsafe_setup": circuit.setup.unsafe,
        "code_hash": _hex(keccak256(compiled.runtime)),
        "creation_hash": _hex(keccak256(compiled.creation)),
        "code_bytes": len(compiled.runtime),
        "code_limit": CODE_LIMIT,
        "creation_bytes": len(compiled.creation),
        "instances": words,
        "layout": layout(circuit.statement, circuit.identity, digests, proof_bytes).to_json(),
        "vka": {"bytes": len(vka), "words": len(vka) // WORD, "digest": _hex(keccak256(vka))} if vka else None,
        "gas_estimate": {
            "deploy": deployment_gas(compiled.creation, len(compiled.runtime)),
            "verify": verification_gas(bool(vka), proof_bytes, words),
        },
    }


def require_size(manifest: Mapping[str, Any]) -> None:
    """Refuse what cannot be deployed, before anybody pays for the attempt.

    Raises:
        TooLarge: and what would fit instead.
    """
    too_large = manifest["code_bytes"] > CODE_LIMIT or manifest["creation_bytes"] > CREATION_LIMIT
    if too_large and not manifest["vka"]:
        raise TooLarge(
            f"the verifier has {manifest['code_bytes']} bytes of code, a contract may have {CODE_LIMIT}: make keys "
            "for the chain (fewer columns, slower proofs), or generate the verifier for all circuits (reusable)"
        )
    if too_large or (manifest["vka"] and manifest["vka"]["bytes"] > DATA_LIMIT):
        raise TooLarge(
            f"the circuit takes {manifest['vka']['bytes']} bytes, a contract can hold {DATA_LIMIT}: make keys for "
            "the chain (fewer columns, slower proofs)"
        )


def deployment_gas(creation: bytes, code_bytes: int) -> int:
    """Gas of the transaction that creates a contract without a constructor's work.

    Args:
        creation: its data.
        code_bytes: of the code it leaves.

    Source: Yellow Paper, appendix G; EIP-2028 (calldata), EIP-3860 (creation code).
    """
    zeros = creation.count(0)
    calldata = 4 * zeros + 16 * (len(creation) - zeros)
    return 21_000 + 32_000 + calldata + 2 * -(-len(creation) // WORD) + 200 * code_bytes


def verification_gas(reusable: bool, proof_bytes: int, instances: int) -> int:
    """Gas of a transaction that checks one proof through the router: a fit, within 5 % of what a node measured.

    Args:
        reusable: by the verifier for all circuits.
        proof_bytes: length of the proof.
        instances: how many public words it has.

    Source: benchmarks/results/gas.json (Osaka's rules).
    """
    base, a_byte, an_instance = (245_000, 142, 1_480) if reusable else (200_000, 123, 1_020)
    return base + a_byte * proof_bytes + an_instance * instances


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
