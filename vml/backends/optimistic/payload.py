"""The bytes of an assertion bundle: one encoding, fixed fields first, every length known before it is read.

Integers are big-endian::

    32  digest of the claim                                     32  nonce
    32  chain id                                                32  graph root
    20  game: address of the contract                           u32 length || input specs
    20  asserter: address                                       u32 length || output specs
    32  digest of the terms                                     u8 length, 0 or 65 || signature
    32  commitment to the trace, or zeros

Graph root and specs are what the model's identity is a hash of: so names, shapes and scales of the public values are
the model's own, whoever made the bundle. A bundle that is asserted nowhere has zeros for chain, game, asserter, terms
and nonce, and no signature; one that is asserted somewhere has zeros for none of the first four.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from vml.backends.optimistic.records import TAG_ASSERTION, VERSION, word
from vml.errors import MalformedProof
from vml.keccak import HASH_BYTES, keccak256
from vml.merkle import model_digest
from vml.model.semantics import semantics_digest

ADDRESS_BYTES, SIGNATURE_BYTES = 20, 65
MAX_WORD = (1 << 256) - 1
_HEAD = struct.Struct(">32s32s20s20s32s32s32s32s")


@dataclass(frozen=True)
class Bundle:
    """What is asserted, where and by whom.

    Args:
        claim: 32-byte digest of the claim.
        chain_id: EIP-155, below 2**256; 0 with `game`, `asserter` and `terms` of zeros: asserted nowhere.
        game, asserter: 20-byte addresses.
        terms: 32-byte digest of the terms.
        trace: 32-byte commitment to every operator's output; zeros where it is not published.
        nonce: below 2**256.
        graph: 32-byte graph root.
        inputs, outputs: encoded specs (`vml.model.graph.encode_specs`).
        signature: 65 bytes r, s, v of the asserter; empty for none.

    Raises:
        ValueError: a field of another size, or zeros in some of the four only.
    """

    claim: bytes
    chain_id: int
    game: bytes
    asserter: bytes
    terms: bytes
    trace: bytes
    nonce: int
    graph: bytes
    inputs: bytes
    outputs: bytes
    signature: bytes = b""

    def __post_init__(self) -> None:
        digests = (self.claim, self.terms, self.trace, self.graph)
        if any(len(digest) != HASH_BYTES for digest in digests):
            raise ValueError("digests are 32 bytes each")
        if any(len(address) != ADDRESS_BYTES for address in (self.game, self.asserter)):
            raise ValueError("addresses are 20 bytes each")
        if not 0 <= self.chain_id <= MAX_WORD or not 0 <= self.nonce <= MAX_WORD:
            raise ValueError("chain id and nonce are below 2**256")
        if len(self.signature) not in (0, SIGNATURE_BYTES):
            raise ValueError(f"a signature is {SIGNATURE_BYTES} bytes")
        given = (self.chain_id != 0, any(self.game), any(self.asserter), any(self.terms))
        if any(given) != all(given):
            raise ValueError("chain, game, asserter and terms are all given, or none of them")
        if not any(given) and (self.nonce or self.signature):
            raise ValueError("what is asserted nowhere has no nonce and no signature")

    @property
    def asserted(self) -> bool:
        """Whether it names a game at all."""
        return any(self.game)

    @property
    def model(self) -> bytes:
        """The model identity that graph root and specs hash to."""
        return model_digest(semantics_digest(), self.graph, self.inputs, self.outputs)

    @property
    def id(self) -> bytes:
        """The assertion's name in its game: what `recordOf` is asked for."""
        return keccak256(
            TAG_ASSERTION
            + word(VERSION)
            + word(self.chain_id)
            + self.game.rjust(32, b"\0")
            + self.claim
            + self.asserter.rjust(32, b"\0")
            + self.terms
            + self.trace
            + word(self.nonce)
        )

    def encode(self) -> bytes:
        """The bytes that `decode` reads."""
        head = _HEAD.pack(
            self.claim,
            word(self.chain_id),
            self.game,
            self.asserter,
            self.terms,
            self.trace,
            word(self.nonce),
            self.graph,
        )
        parts = [head]
        for specs in (self.inputs, self.outputs):
            parts += [struct.pack(">I", len(specs)), specs]
        return b"".join([*parts, bytes([len(self.signature)]), self.signature])

    @classmethod
    def decode(cls, data: bytes) -> Bundle:
        """Read what `encode` wrote; nothing else is accepted.

        Args:
            data: bytes from anyone.

        Raises:
            MalformedProof: bytes are missing or left over, or a field is out of its bounds.
        """
        try:
            claim, chain_id, game, asserter, terms, trace, nonce, graph = _HEAD.unpack_from(data)
            inputs, at = _sized(data, _HEAD.size)
            outputs, at = _sized(data, at)
            signature = data[at + 1 :]
            if data[at] != len(signature):
                raise MalformedProof("the bundle does not end with its signature")
            return cls(
                claim,
                int.from_bytes(chain_id, "big"),
                game,
                asserter,
                terms,
                trace,
                int.from_bytes(nonce, "big"),
                graph,
                inputs,
                outputs,
                signature,
            )
        except (struct.error, IndexError, ValueError) as error:
            raise MalformedProof(f"the bundle: {error}") from None


def _sized(data: bytes, at: int) -> tuple[bytes, int]:
    """A part with its length before it, and where it ends; a part that is cut off leaves nothing after it to read."""
    (size,) = struct.unpack_from(">I", data, at)
    return data[at + 4 : at + 4 + size], at + 4 + size
