"""The other half of `EzklAdapter.sol`: its metadata, and a proof as it reads one.

    metadata = abi.encode(EzklAdapter.Metadata)
    proof    = selector (4 bytes) || abi.encode(bytes proof, uint256[] instances)

The chain never sees the rest of an envelope's payload, since the metadata stands for it: the verifying key and the
set-up are in the generated verifier's code, wrapper and settings in the layout. Whoever relies on another's metadata
compares its layout with `layout_of` of a proof that verifies off chain, and its code hash with a verifier that he
generated himself.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vml.backends.ezkl.commitments import HIDDEN_TAG, WORD, element_of, public_header
from vml.backends.ezkl.payload import Payload
from vml.backends.ezkl.statement import Statement, visibility_of
from vml.chain import abi
from vml.errors import MalformedProof
from vml.proof import Proof

METADATA_TYPE = "(bytes32,address,bytes32,address,bytes32,bytes32,uint32,uint32,uint32,bytes,bytes)"
ADDRESS = 20
NO_ADDRESS = bytes(ADDRESS)
NO_WORD = bytes(WORD)
DATA_LIMIT = 24_575
"""Bytes that a contract can hold as its code behind a leading zero byte (EIP-170)."""


@dataclass(frozen=True)
class Layout:
    """How the instances of a model's proofs read; the same for every contract that checks them.

    Args:
        model: 32-byte model identity.
        parameter_digest: Poseidon digest of private weights; zero where the model is public.
        proof_bytes: length of Halo2's transcript.
        input_words, output_words: instances that are the model's input and output, without the context.
        input_header, output_header: what stands before them in the preimages of the claim's fields.
    """

    model: bytes
    parameter_digest: bytes
    proof_bytes: int
    input_words: int
    output_words: int
    input_header: bytes
    output_header: bytes

    def to_json(self) -> dict[str, Any]:
        """As a manifest holds it: bytes as 0x hex."""
        return {name: abi.shown(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Layout:
        """Read a manifest's.

        Raises:
            ValueError: not one.
        """
        fields: dict[str, Any] = {k: bytes.fromhex(v[2:]) if isinstance(v, str) else int(v) for k, v in value.items()}
        try:
            return cls(**fields)
        except TypeError as error:
            raise ValueError(f"no layout of an ezkl verifier: {error}") from None


@dataclass(frozen=True)
class Metadata:
    """A model as its owner registers it for one scheme.

    Args:
        layout: how instances read.
        verifier: address of the generated verifier.
        code_hash: keccak-256 of its code.
        vka: address whose code holds the VKA behind a zero byte; zero with the verifier for one circuit.
        vka_digest: keccak-256 of the VKA; zero likewise.
    """

    layout: Layout
    verifier: bytes
    code_hash: bytes
    vka: bytes = NO_ADDRESS
    vka_digest: bytes = NO_WORD

    def to_bytes(self) -> bytes:
        """Encode."""
        one = self.layout
        return abi.encode(
            [METADATA_TYPE],
            [
                (
                    one.model,
                    self.verifier,
                    self.code_hash,
                    self.vka,
                    self.vka_digest,
                    one.parameter_digest,
                    one.proof_bytes,
                    one.input_words,
                    one.output_words,
                    one.input_header,
                    one.output_header,
                )
            ],
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Metadata:
        """Decode; there is one encoding.

        Raises:
            ValueError: it is not that.
        """
        ((model, verifier, code_hash, vka, vka_digest, parameters, *rest),) = abi.decode([METADATA_TYPE], data)
        address, pointer = (bytes.fromhex(text[2:]) for text in (verifier, vka))
        found = cls(Layout(model, parameters, *rest), address, code_hash, pointer, vka_digest)
        if found.to_bytes() != data:
            raise ValueError("metadata of an ezkl model has one encoding, and this is another")
        return found


def layout(statement: Statement, model: bytes, parameter_digest: bytes, proof_bytes: int) -> Layout:
    """The layout of a circuit's proofs.

    Args:
        statement: how their instances read.
        model: 32-byte model identity.
        parameter_digest: 32 bytes; empty or zero where the model is public.
        proof_bytes: length of the transcript.
    """
    public = statement.visibility.input == "public"
    return Layout(
        model=model,
        parameter_digest=parameter_digest or NO_WORD,
        proof_bytes=proof_bytes,
        input_words=sum(t.size for t in statement.inputs) if public else len(statement.inputs),
        output_words=sum(t.size for t in statement.outputs),
        input_header=public_header([t.shape for t in statement.inputs]) if public else HIDDEN_TAG,
        output_header=public_header([t.shape for t in statement.outputs]),
    )


def layout_of(proof: Proof) -> Layout:
    """The layout that a proof implies; trust it after `vml.verify` accepted the proof.

    Raises:
        MalformedProof: the payload cannot be read.
    """
    payload, statement = _read(proof)
    digest = b"".join(statement.parameter_words(payload.instances))
    return layout(statement, proof.claims[0].model, digest, len(payload.proof))


def encode_proof(proof: Proof) -> bytes:
    """The bytes that a router takes as ``proof``: selector and canonical encoding.

    Args:
        proof: an envelope of one of ezkl's schemes.

    Raises:
        MalformedProof: it is none, or its parts cannot be those of a valid proof.
    """
    payload, _ = _read(proof)
    words = [element_of(word) for word in payload.instances]
    return proof.selector + abi.encode(["bytes", "uint256[]"], [payload.proof, words])


def data_contract(data: bytes) -> bytes:
    """Bytecode that creates a contract whose code is a zero byte and `data`, as `DataContract.sol` does.

    Args:
        data: 1 to `DATA_LIMIT` bytes.
    """
    if not 0 < len(data) <= DATA_LIMIT:
        raise ValueError(f"{len(data)} bytes cannot be kept as code, only 1 to {DATA_LIMIT}")
    # PUSH2 length, DUP1, PUSH1 10, PUSH0, CODECOPY, PUSH0, RETURN: ten bytes, then the code to keep.
    return b"\x61" + (len(data) + 1).to_bytes(2, "big") + bytes.fromhex("80600a5f395ff300") + data


def _read(proof: Proof) -> tuple[Payload, Statement]:
    """Payload and statement of an envelope, checked against each other.

    Raises:
        MalformedProof: they do not fit.
    """
    visibility = visibility_of(proof.scheme)
    if visibility is None or len(proof.claims) != 1:
        raise MalformedProof(f"{proof.scheme[:80]!r} with {len(proof.claims)} claims is not for the ezkl adapter")
    payload = Payload.from_bytes(proof.payload)
    statement = Statement.read(payload.wrapper, payload.settings, visibility)
    if len(payload.instances) != statement.instance_count:
        raise MalformedProof(f"{len(payload.instances)} instances, the circuit has {statement.instance_count}")
    if not payload.proof or len(payload.proof) % WORD:
        raise MalformedProof("the proof is not made of 32-byte words")
    return payload, statement
