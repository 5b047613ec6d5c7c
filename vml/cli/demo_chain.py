"""The demo's act on a chain: an escrow that pays for a proved answer, and four ways to be paid for nothing.

Everything runs on the EVM in this process; the contracts and the calls are those of a real chain.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vml.errors import ChainError

if TYPE_CHECKING:
    from vml.backends.types import Keys
    from vml.chain.client import Chain
    from vml.claim import Context
    from vml.proof import Proof

PRICE = 10**18
DEADLINE = 2**63
PROVER = "0x" + "b0" * 20
NOBODY = "0x" + "00" * 20


@dataclass(frozen=True)
class Request:
    """What somebody pays for: the terms of the escrow, in its order, and the context a proof must be bound to."""

    terms: tuple[Any, ...]
    context: Context


class Escrow:
    """A router that knows one model's generated verifier, and an escrow in front of it.

    Args:
        keys: of ezkl. work: a folder for what is generated.

    Raises:
        BackendUnavailable: Node, its packages or the extra ``chain`` are missing.
        ChainError: the contracts cannot be put up.
    """

    def __init__(self, keys: Keys, work: Path) -> None:
        from vml.backends.ezkl.setup import load
        from vml.chain import artifacts
        from vml.chain.client import connect
        from vml.chain.deploy import Deployer
        from vml.chain.generate import generate

        if keys.directory is None:
            raise ChainError("these keys are in no folder, a contract cannot be made from them")
        self.chain: Chain = connect(None)
        self._state = Deployer(self.chain).run(generate(load(keys.directory), work / "contract"))
        contract = artifacts.load("PayOnProof")
        self._abi = contract.abi
        self.address = self.chain.deploy(contract.bytecode, contract.abi, [self._state.contracts["router"].address])

    def ask(self, committed: bytes) -> Request:
        """Put money down for the model's answer on an input.

        Args:
            committed: the claim's input.
        """
        from vml.claim import Context

        key, sender = bytes.fromhex(self._state.model["key"][2:]), self.chain.sender or NOBODY
        terms = (sender, key, False, committed, PROVER, PRICE, DEADLINE, NOBODY, 0, os.urandom(32), b"")
        self.chain.transact(self.address, self._abi, "open", terms, value=PRICE)
        name = self.chain.call(self.address, self._abi, "idOf", terms)
        return Request(terms, Context(sender, self.chain.chain_id, self.address, name, PROVER, DEADLINE))

    def refusal(self, request: Request, proof: Proof) -> str | None:
        """Why the escrow does not pay for a proof; None if it would."""
        try:
            self.chain.call(self.address, self._abi, "settle", *self._settling(request, proof))
        except ChainError as error:
            return error.error or str(error)
        return None

    def settle(self, request: Request, proof: Proof) -> int:
        """Have the prover paid; the gas that it took."""
        receipt = self.chain.transact(self.address, self._abi, "settle", *self._settling(request, proof))
        return receipt.gas_used

    @property
    def earned(self) -> int:
        """What the prover can withdraw, in wei."""
        return int(self.chain.call(self.address, self._abi, "creditOf", PROVER))

    @staticmethod
    def _settling(request: Request, proof: Proof) -> tuple[Any, ...]:
        from vml.chain.verify import encode

        claim = proof.claims[0]
        words = (claim.model, claim.input, claim.output, claim.context)
        return request.terms, PROVER, words, encode(proof)
