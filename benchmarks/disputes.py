"""Disputes to measure: a liar with one flipped element against an honest challenger, played to the end in memory.

Both sides run the model for themselves and keep what they need between their moves, as they would beside a chain.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from benchmarks.step_gas import StepGas
from vml.backends.optimistic import moves
from vml.backends.optimistic.game import Rules, play
from vml.backends.optimistic.profiles import PROFILES, terms_for, worst_case
from vml.backends.optimistic.records import Call, State, Status, dispute_id
from vml.backends.optimistic.strategy import Difference, asserter_moves, challenger_move
from vml.backends.optimistic.trace import Trace
from vml.claim import ZERO_CONTEXT, Claim
from vml.merkle import tensor_root, tensors_root
from vml.model.executor import Executor
from vml.model.graph import Graph
from vml.model.onestep import StepBound, step_bound, step_value

Array = np.ndarray[Any, np.dtype[Any]]
T = TypeVar("T")

CONTRACT, LIAR, CHALLENGER = (bytes([letter]) * 20 for letter in b"GLC")
PROFILE = PROFILES["l1-safe"]
ROUNDS = 40


class Liar(Trace):
    """A trace with one element of one operator flipped, and one of the output, so that the claim is false."""

    def __init__(self, executor: Executor, inputs: Mapping[str, Array], operator: int, element: int) -> None:
        super().__init__(executor, inputs)
        self._places = {self.graph.outputs[0].node: 0, operator: element}

    def tensor(self, node: int) -> Array:
        values = super().tensor(node)
        if node in self._places:
            values = values.copy()
            values.reshape(-1)[self._places[node]] ^= 1
        return values

    @cached_property
    def roots(self) -> tuple[bytes, ...]:
        found = list(self.publish(lambda node, data: None, data=False))
        for node in self._places:
            found[node] = tensor_root(self.tensor(node))
        return tuple(found)

    def claim(self, context: bytes = ZERO_CONTEXT) -> Claim:
        sides = ([self.roots[spec.node] for spec in side] for side in (self.graph.inputs, self.graph.outputs))
        return Claim(self.graph.commitment, *(tensors_root(side) for side in sides), context)


def bounds(graph: Graph) -> dict[int, StepBound]:
    """What one step of each computed operator costs at most."""
    sources = ("input", "constant")
    return {i: step_bound(graph, i) for i, node in enumerate(graph.nodes) if node.primitive not in sources}


def middle_operators(graph: Graph) -> list[int]:
    """One operator of every primitive, the middle one of those that compute anything, in the order of the graph."""
    by_primitive: dict[str, list[int]] = {}
    for index, node in enumerate(graph.nodes):
        if node.primitive not in ("input", "constant"):
            by_primitive.setdefault(node.primitive, []).append(index)
    return sorted(places[(len(places) - 1) // 2] for places in by_primitive.values())


class Match:
    """One assertion by the liar and one dispute about it, under the terms of `PROFILE`.

    Args:
        executor: of the model.
        inputs: integer codes by input name.
        operator: whose output has a flipped element: the middle one.
        step_gas: of the model's dearest step.
    """

    def __init__(self, executor: Executor, inputs: Mapping[str, Array], operator: int, step_gas: int) -> None:
        graph, element = executor.graph, executor.graph.nodes[operator].header.size // 2
        self.operator, self.element, self.seconds = operator, element, {"asserter_s": 0.0, "challenger_s": 0.0}
        self.made = {"asserter_moves": 0, "challenger_moves": 0}
        self._graph = graph
        self._liar, self._honest = Liar(executor, inputs, operator, element), Trace(executor, inputs)
        self._terms = terms_for(PROFILE, worst_case(graph, step_gas))
        terms = {self._terms.digest(): self._terms}
        self._rules = Rules(1, CONTRACT, {graph.commitment: graph}, terms, step_value)
        self._state, self._now = State(), 1

    def _timed(self, side: str, work: Callable[[], T]) -> T:
        started = time.perf_counter()
        done = work()
        self.seconds[f"{side}_s"] += time.perf_counter() - started
        return done

    def _do(self, side: str, move: moves.Move, value: int = 0) -> None:
        sender = LIAR if side == "asserter" else CHALLENGER
        self._state = play(self._rules, self._state, Call(sender, self._now, value), move).state
        self.made[f"{side}_moves"] += 1
        self._now += 1

    def play(self) -> dict[str, Any]:
        """The dispute from the claim to the slash. Raises RuntimeError where it ends in another way."""
        claim = self._timed("asserter", self._liar.claim)
        given = self._timed("asserter", self._liar.input_bytes)
        asserting = moves.Assert(claim, self._terms.digest(), input=given)
        key = asserting.id(self._rules.chain_id, CONTRACT, LIAR)
        self._do("asserter", asserting, self._terms.asserter_bond)
        self.made["asserter_moves"] = 0  # the assertion itself is no answer
        if self._timed("challenger", self._honest.claim) == claim:
            raise RuntimeError("the claim is true")
        salt, complaint = bytes(32), Difference(self._honest, step_value)
        self._do("challenger", moves.Challenge(key, salt), self._terms.challenger_bond)
        dispute = dispute_id(key, CHALLENGER, salt)
        for _ in range(ROUNDS):
            for move in self._timed("asserter", lambda: self._answers(key)):
                self._do("asserter", move)
            answer = self._timed("challenger", lambda: challenger_move(self._state, dispute, complaint, self._now))
            if answer is not None:
                self._do("challenger", answer)
            if self._state.assertions[key].status is Status.SLASHED:
                return self._result()
        raise RuntimeError(f"the dispute over operator {self.operator} does not end in a slash")

    def _answers(self, key: bytes) -> list[moves.Move]:
        return list(asserter_moves(self._state, key, self._liar, self._now))

    def _result(self) -> dict[str, Any]:
        graph, node = self._graph, self._graph.nodes[self.operator]
        return {
            "operator": self.operator,
            "name": graph.names[self.operator],
            "primitive": node.primitive,
            "elements": node.header.size,
            **self.made,
            **{side: round(seconds, 3) for side, seconds in self.seconds.items()},
            "step_gas": step_bound(graph, self.operator).transaction_gas,
        }

    def proved_gas(self, contract: StepGas) -> int:
        """Gas of proving that element to the contract, which must compute the honest one."""
        return contract.measure(self._graph, self._honest.tensor, self.operator, self.element)
