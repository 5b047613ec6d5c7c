"""Small circuits whose verifiers fit a contract, and an embedded EVM with a router in front of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyrevm

from tests.backends.ezkl.conftest import CONTEXT, SALT, Case, calibration, sample, tiny_mlp
from vml.backends.ezkl import prover
from vml.backends.ezkl.payload import Payload
from vml.backends.ezkl.setup import setup
from vml.backends.types import SetupOptions, Visibility
from vml.chain import abi, artifacts
from vml.chain.ezkl_adapter import Metadata, data_contract
from vml.chain.generate import Generated
from vml.claim import Claim
from vml.proof import Proof

OWNER = "0x" + "11" * 20
REUSABLE_ABI = [
    {"type": "function", "name": "registerVka", "inputs": [{"type": "bytes32[]"}], "outputs": [{"type": "bytes32"}]},
    {
        "type": "function",
        "name": "verifyProof",
        "inputs": [{"type": "bytes"}, {"type": "uint256[]"}, {"type": "bytes32[]"}],
        "outputs": [{"type": "bool"}, {"type": "bytes32"}],
    },
]


def on_chain_case(cache: Path, visibility: Visibility, seed: int = 0) -> Case:
    """A proof under a circuit laid out for the chain."""
    options = SetupOptions(visibility=visibility, cache_dir=cache, on_chain=True)
    circuit = setup(tiny_mlp(seed), calibration(), options)
    salt = SALT if visibility.input == "private" else None
    proof, _ = prover.prove(circuit, sample(), CONTEXT, salt=salt)
    return Case(circuit, proof)


def claim_tuple(claim: Claim) -> tuple[bytes, bytes, bytes, bytes]:
    return claim.model, claim.input, claim.output, claim.context


def raw(proof: Proof) -> bytes:
    """A proof for the router, whatever is wrong with it."""
    payload = Payload.from_bytes(proof.payload)
    words = [int.from_bytes(word, "big") for word in payload.instances]
    return proof.selector + abi.encode(["bytes", "uint256[]"], [payload.proof, words])


class Refused(Exception):
    """A call reverted; the message names the custom error."""


class World:
    """A registry, a router, an adapter for every scheme that is asked for, and the verifiers behind them."""

    def __init__(self) -> None:
        self.evm = pyrevm.EVM()
        self.registry = self.create("ModelRegistry")
        self.router = self.create("VmlRouter", OWNER, OWNER, self.registry)
        self.adapters: dict[str, str] = {}

    def deploy(self, creation: bytes) -> str:
        return str(self.evm.deploy(OWNER, creation))

    def create(self, name: str, *arguments: object) -> str:
        artifact = artifacts.load(name)
        return self.deploy(artifact.bytecode + abi.encode_constructor(artifact.abi, arguments))

    def call(self, address: str, interface: Any, name: str, *arguments: object) -> Any:
        """Call a contract by its ABI, or by the name of one that ships.

        Raises:
            Refused: it reverted.
        """
        entries = artifacts.load(interface).abi if isinstance(interface, str) else interface
        data = abi.encode_call(entries, name, arguments)
        try:
            answer = self.evm.message_call(OWNER, address, calldata=data)
        except RuntimeError as error:
            output = str(error).partition("output: 0x")[2].partition(" ")[0].rstrip(" }")
            raise Refused(str(abi.decode_revert(bytes.fromhex(output), artifacts.errors()))) from None
        return abi.decode_result(entries, name, bytes(answer))

    def adapter(self, scheme: str) -> str:
        if scheme not in self.adapters:
            self.adapters[scheme] = self.create("EzklAdapter", scheme)
            self.call(self.router, "VmlRouter", "addRoute", self.adapters[scheme])
        return self.adapters[scheme]


@dataclass(frozen=True)
class Entry:
    """A model that is registered, with one proof of it.

    Args:
        world: where.
        case: circuit and proof.
        generated: the verifier that is deployed.
        metadata: as registered.
    """

    world: World
    case: Case
    generated: Generated
    metadata: Metadata

    @property
    def key(self) -> bytes:
        """Of the registry."""
        key: bytes = self.world.call(self.world.registry, "ModelRegistry", "keyOf", OWNER, self.case.circuit.identity)
        return key

    def holds(self, claim: Claim, proof: bytes) -> bool:
        """What the router answers."""
        valid, _ = self.world.call(self.world.router, "VmlRouter", "tryVerify", self.key, claim_tuple(claim), proof)
        return bool(valid)

    def ask(self, claim: Claim, proof: bytes, metadata: Metadata | bytes | None = None) -> bool:
        """What the adapter answers, asked directly.

        Args:
            claim: to check.
            proof: without the selector.
            metadata: instead of the entry's.

        Raises:
            Refused: and why.
        """
        given = metadata or self.metadata
        data = given if isinstance(given, bytes) else given.to_bytes()
        adapter = self.world.adapter(self.case.proof.scheme)
        return bool(self.world.call(adapter, "EzklAdapter", "verify", claim_tuple(claim), data, proof))

    def changed(self, **fields: Any) -> Metadata:
        """The metadata with other fields, those of the layout included."""
        layout = {k: v for k, v in fields.items() if hasattr(self.metadata.layout, k)}
        rest = {k: v for k, v in fields.items() if k not in layout}
        return replace(self.metadata, layout=replace(self.metadata.layout, **layout), **rest)


def address_of(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def enter(world: World, case: Case, generated: Generated) -> Entry:
    """Deploy a generated verifier and register its model."""
    verifier = world.deploy(generated.creation)
    vka = None
    if generated.vka:
        words = [generated.vka[i : i + 32] for i in range(0, len(generated.vka), 32)]
        world.call(verifier, REUSABLE_ABI, "registerVka", words)
        vka = address_of(world.deploy(data_contract(generated.vka)))
    metadata = generated.metadata(address_of(verifier), vka)
    entry = Entry(world, case, generated, metadata)
    world.adapter(case.proof.scheme)
    commitment = (case.circuit.identity, bytes(32), bytes(32), bytes(4), "")
    world.call(world.registry, "ModelRegistry", "registerModel", commitment)
    data, selector = metadata.to_bytes(), case.proof.selector
    world.call(world.registry, "ModelRegistry", "setBackend", entry.key, selector, data, bytes(32))
    return entry
