"""Deploying a generated verifier with all that stands around it, in steps that can be repeated.

==========  =====================================================  ==========================================
step        does                                                   done when
==========  =====================================================  ==========================================
registry    creates ModelRegistry                                  its code is at its address
router      creates VmlRouter over it                              likewise
adapter     creates EzklAdapter for the scheme                     likewise
verifier    creates the generated verifier                         likewise
vka         creates the contract that holds the circuit            likewise; verifier for all circuits only
register    tells the verifier for all circuits of this one        its storage says so
route       VmlRouter.addRoute(adapter)                            the route is active and the adapter's
model       ModelRegistry.registerModel                            the entry exists
backend     ModelRegistry.setBackend                               the entry has this metadata, enabled
==========  =====================================================  ==========================================
"""

from __future__ import annotations

from vml.chain import abi, artifacts
from vml.chain.deployment import Deployment
from vml.chain.ezkl_adapter import data_contract
from vml.chain.generate import Generated
from vml.chain.steps import Steps, Wishes
from vml.claim import parse_address
from vml.keccak import keccak256

ADAPTER = "EzklAdapter"
WORD = 32

REUSABLE_ABI: abi.Abi = (
    {"type": "function", "name": "registerVka", "inputs": [{"name": "vka", "type": "bytes32[]"}], "outputs": []},
)
"""Of ezkl's verifier for all circuits; which circuits it knows is its first storage variable."""


class Deployer(Steps):
    """Deploys what `vml contract generate` wrote."""

    def run(self, generated: Generated, wishes: Wishes | None = None) -> Deployment:
        """Take every step that is not taken yet.

        Args:
            generated: of `vml contract generate`.
            wishes: what is not the default.

        Returns:
            What is deployed now.

        Raises:
            ChainError: a step failed; everything before it is kept, running again goes on from there.
        """
        wishes = wishes or Wishes()
        scheme, model = generated.scheme, bytes.fromhex(generated.manifest["model"][2:])
        selector = self._begin(model, scheme)

        # One router and one registry, new or somebody's.
        registry, router = self._router(wishes)

        # An adapter for the scheme, which the router may have already.
        adapter, known = self._route_of(router, selector)
        if known:
            # Metadata is in our adapter's format; another one would read it otherwise.
            self._adopt("adapter", adapter, keccak256(self._code(artifacts.load(ADAPTER), [scheme], {})))
        else:
            adapter = self._create("adapter", artifacts.load(ADAPTER), [scheme], {})

        # What ezkl generated.
        if wishes.verifier:
            verifier = self._adopt("verifier", wishes.verifier, generated.code_hash)
        else:
            verifier = self._create_code("verifier", generated.creation, lambda at: generated.code_hash)
        vka = None
        if generated.vka:
            kept = keccak256(b"\0" + generated.vka)
            vka = self._create_code("vka", data_contract(generated.vka), lambda at: kept)
            words = [generated.vka[at : at + WORD] for at in range(0, len(generated.vka), WORD)]
            self._act(
                "register",
                lambda: self._knows(verifier, keccak256(generated.vka)),
                *(verifier, REUSABLE_ABI, "registerVka", words),
            )

        # The route, the model, and that the one may speak for the other.
        pointer = None if vka is None else parse_address(vka)
        metadata = generated.metadata(parse_address(verifier), pointer).to_bytes()
        vk_digest = bytes.fromhex(generated.manifest["vk_digest"][2:])
        return self._admit((registry, router, adapter), model, selector, metadata, vk_digest, wishes.uri)

    def _knows(self, verifier: str, vka_digest: bytes) -> bool:
        """Whether a verifier for all circuits has registered one; it has no function that tells."""
        slot = "0x" + keccak256(vka_digest + bytes(WORD)).hex()
        return any(self.chain.rpc.data("eth_getStorageAt", verifier, slot, "latest"))
