"""Deploying a dispute game with all that stands around it, and a model whose claims may be asserted in it.

==========  =====================================================  ==========================================
step        does                                                   done when
==========  =====================================================  ==========================================
registry    creates ModelRegistry                                  its code is at its address
router      creates VmlRouter over it                              likewise
graphs      creates GraphRegistry for the semantics                likewise
steps       creates StepVerifier                                   likewise
escalation  creates Escalation over the router                     likewise
game        creates DisputeGame over these three                   likewise
adapter     creates OptimisticVerifier over the game               likewise
open        GraphRegistry.open                                     the graph's registration is begun
graph       GraphRegistry.append, as often as it takes             the model is registered
terms       DisputeGame.offerTerms                                 the game knows them
route       VmlRouter.addRoute(adapter)                            the route is active and the adapter's
model       ModelRegistry.registerModel                            the entry exists
backend     ModelRegistry.setBackend, accepting these terms        the entry has this metadata, enabled
==========  =====================================================  ==========================================

A router that has the route already has a game: then only the last six are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

from vml.backends.optimistic.profiles import Profile, terms_for, worst_case
from vml.chain import abi, artifacts
from vml.chain.deployment import Deployment
from vml.chain.graphs import REGISTRY as GRAPHS
from vml.chain.graphs import chunk_bits, registered
from vml.chain.steps import Steps, Wishes, abi_address
from vml.errors import ChainError
from vml.keccak import keccak256
from vml.merkle import graph_tree
from vml.model.graph import Graph, encode_specs
from vml.model.semantics import semantics_digest

SCHEME = "optimistic/1"
STEPS, ESCALATION, GAME, VERIFIER = "StepVerifier", "Escalation", "DisputeGame", "OptimisticVerifier"
STEP_GAS = 14_000_000
"""Most gas that a one-step proof may need, as a whole transaction: a transaction may use 2^24 (EIP-7825), and the game
around the step takes its part."""


class OptimisticDeployer(Steps):
    """Deploys a dispute game, and registers a model to be asserted about in it."""

    def run(self, graph: Graph, profile: Profile, wishes: Wishes | None = None) -> Deployment:
        """Take every step that is not taken yet.

        Args:
            graph: the model's.
            profile: what is assumed of the chain; the terms follow from it and the model.
            wishes: what is not the default.

        Returns:
            What is deployed now; ``model["terms"]`` is the digest of the accepted terms.

        Raises:
            ChainError: a step failed; everything before it is kept, running again goes on from there. Or the model
                has an operator that cannot be disputed.
            ValueError: the profile has no terms for this model.
        """
        wishes = wishes or Wishes()
        if wishes.verifier:
            raise ValueError("an exact model has no generated verifier")
        selector = self._begin(graph.commitment, SCHEME)
        registry, router = self._router(wishes)
        adapter, known = self._route_of(router, selector)
        if known:
            graphs, game = self._adopt_game(router, adapter)
        else:
            graphs, game, adapter = self._create_game(router)

        # The graph, from which the dearest step and so the terms follow.
        self._register(graphs, graph)
        _, _, step_gas = self.chain.call(graphs, artifacts.load(GRAPHS).abi, "graphOf", graph.commitment)
        terms = terms_for(profile, worst_case(graph, step_gas))
        digest = terms.digest()
        self._require_model({"terms": "0x" + digest.hex()})
        self._act(
            "terms", lambda: self._offered(game, digest), game, artifacts.load(GAME).abi, "offerTerms", astuple(terms)
        )
        metadata = encode_metadata([digest])
        return self._admit(
            (registry, router, adapter), graph.commitment, selector, metadata, keccak256(metadata), wishes.uri
        )

    def _create_game(self, router: str) -> tuple[str, str, str]:
        graphs = self._create("graphs", artifacts.load(GRAPHS), [semantics_digest(), STEP_GAS], {})
        steps = self._create("steps", artifacts.load(STEPS), [], {})
        escalation = self._create("escalation", artifacts.load(ESCALATION), [router], {})
        game = self._create("game", artifacts.load(GAME), [graphs, steps, escalation], {})
        return graphs, game, self._create("adapter", artifacts.load(VERIFIER), [game], {})

    def _adopt_game(self, router: str, adapter: str) -> tuple[str, str]:
        """The game behind a route: ours, for its rules are what a final assertion is worth."""
        game_abi, graphs_abi = artifacts.load(GAME).abi, artifacts.load(GRAPHS).abi
        game = abi_address(self.chain.call(adapter, artifacts.load(VERIFIER).abi, "game"))
        names = ("graphs", "steps", "escalation")
        graphs, steps, escalation = (abi_address(self.chain.call(game, game_abi, name)) for name in names)
        limit = self.chain.call(graphs, graphs_abi, "stepGasLimit")
        parts: Sequence[tuple[str, str, str, list[object]]] = (
            ("graphs", GRAPHS, graphs, [semantics_digest(), limit]),
            ("steps", STEPS, steps, []),
            ("escalation", ESCALATION, escalation, [router]),
            ("game", GAME, game, [graphs, steps, escalation]),
            ("adapter", VERIFIER, adapter, [game]),
        )
        for name, contract, address, arguments in parts:
            self._adopt(name, address, keccak256(self._code(artifacts.load(contract), arguments, {})))
        return graphs, game

    def _register(self, graphs: str, graph: Graph) -> None:
        """Send a graph's descriptors, from where the registration is: anybody may have begun it."""
        contract, model, count = artifacts.load(GRAPHS).abi, graph.commitment, len(graph.nodes)
        descriptors, bits = [node.encode() for node in graph.nodes], chunk_bits(graph)
        tree = graph_tree(descriptors)
        opening = (graph.root, count, bits, encode_specs(graph.inputs), encode_specs(graph.outputs))

        def progress() -> int | None:
            """None where this account would append to a registration that somebody cut otherwise."""
            if registered(self.chain, graphs, model):
                return count
            at, of, cut = self.chain.call(graphs, contract, "progressOf", model)
            return int(at) if (of, cut) == (count, bits) else None

        while True:
            self._act("open", lambda: progress() is not None, graphs, contract, "open", *opening)
            at = progress() or 0
            if at >= count:
                self.state.steps.setdefault("graph", None)
                return
            chunk = (model, descriptors[at : at + (1 << bits)], tree.open(at)[bits:])
            self._act("graph", lambda at=at: (progress() or 0) > at, graphs, contract, "append", *chunk)  # type: ignore[misc]

    def _offered(self, game: str, digest: bytes) -> bool:
        try:
            self.chain.call(game, artifacts.load(GAME).abi, "termsOf", digest)
        except ChainError as error:
            if error.error == "TermsUnknown":
                return False
            raise
        return True


def encode_metadata(accepted: Sequence[bytes]) -> bytes:
    """What a model's owner registers for `SCHEME`.

    Args:
        accepted: digests of terms.
    """
    return abi.encode(["bytes32[]"], [list(accepted)])
