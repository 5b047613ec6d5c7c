"""One element flipped in every operator of the shipped models ends in a slash; honest asserters survive everything."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backends.optimistic.dispute_step import step
from tests.backends.optimistic.dispute_world import (
    ALICE,
    BOB,
    MALLORY,
    TERMS,
    Altered,
    World,
    difference,
    flipped,
    honest,
    shipped,
    slashed,
    with_false_output,
)
from tests.laws.random_graphs import random_graph, random_inputs
from vml.backends.optimistic import moves
from vml.backends.optimistic.board import turn
from vml.backends.optimistic.records import Opening, Position, Result, Side, Status
from vml.backends.optimistic.step import Step
from vml.backends.optimistic.strategy import asserter_moves, challenger_move, fraud
from vml.backends.optimistic.trace import Trace
from vml.model.executor import Executor
from vml.model.onestep import step_value

MODELS = ("breast-cancer-mlp", "digits-mlp", "digits-cnn", "digits-transformer", "lenet5")
ORACLES = pytest.mark.parametrize("oracle", [step, step_value], ids=["specification", "step sections"])


@ORACLES
@pytest.mark.parametrize("name", MODELS)
def test_one_element_flipped_in_any_operator_ends_in_a_slash(name: str, oracle: Step) -> None:
    pair = shipped(name)
    mine = honest(pair)
    rng = np.random.default_rng(11)
    computed = [i for i, node in enumerate(mine.graph.nodes) if node.primitive not in ("input", "constant")]
    assert len(computed) >= 5
    for operator in computed:
        values = mine.tensor(operator)
        bit = 1 << int(rng.integers(8 * values.itemsize - 1))
        liar = with_false_output(mine, pair[1], {operator: flipped(values, int(rng.integers(values.size)), bit)})
        world = World(mine.graph, oracle=oracle)
        key = world.make(MALLORY, liar)
        made = world.fight(MALLORY, key, liar, BOB, difference(mine, oracle))
        assert slashed(world, key), operator
        assert made <= 6
        assert world.wealth(BOB) == TERMS.slash_reward
        assert world.events[-1].reason == "a wrong element was proved"

        world = World(mine.graph, oracle=oracle)
        key = world.make(MALLORY, liar, eager=True)
        move = fraud(world.assertion(key), liar, mine, oracle)
        assert move is not None
        world.do(BOB, move)
        assert slashed(world, key), operator


@pytest.mark.parametrize("name", MODELS)
def test_one_element_flipped_in_an_input_or_a_constant_ends_in_a_slash_too(name: str) -> None:
    """Such a list does not hold together: nobody can reveal it, and published it is refuted as a whole."""
    pair = shipped(name)
    mine = honest(pair)
    rng = np.random.default_rng(13)
    given = [i for i, node in enumerate(mine.graph.nodes) if node.primitive in ("input", "constant")]
    assert len(given) >= 3
    for operator in given:
        values = mine.tensor(operator)
        liar = Altered(mine, pair[1], {operator: flipped(values, int(rng.integers(values.size)))})
        world = World(mine.graph)
        move = moves.Assert(mine.claim(), TERMS.digest(), trace=liar.commitment())
        world.do(MALLORY, move)
        key = move.id(1, b"\x01" * 20, MALLORY)
        assert fraud(world.assertion(key), liar, mine, step) is None
        dispute = world.challenge(BOB, key)
        for answer in asserter_moves(world.state, key, liar, world.now):
            assert world.refused(MALLORY, answer).__name__ == "ListInconsistent"
        if operator % 2:
            world.do(BOB, moves.ProveList(key, liar.roots))
            assert world.events[-1].reason == "the published roots are inconsistent"
        else:
            world.wait(TERMS.asserter_clock_s + 1)
            world.attack(BOB, dispute, difference(mine))
            assert world.events[-1].reason == "the asserter ran out of time"
        assert slashed(world, key), operator
        assert world.state.credits[BOB] >= TERMS.slash_reward


class Slander:
    """A challenger of an honest assertion who goes wherever it likes."""

    def __init__(self, mine: Trace, operator: int, rng: np.random.Generator) -> None:
        self.mine, self.picked, self.rng = mine, operator, rng

    def operator(self, roots: tuple[bytes, ...]) -> int | None:
        return self.picked

    def child(self, position: Position, children: tuple[bytes, ...]) -> int | None:
        return 0

    def element(self, position: Position, data: bytes) -> int | None:
        return int(self.rng.integers(min(8, self.mine.graph.nodes[position.operator].header.size)))

    def openings(self, operator: int, element: int) -> tuple[Opening, ...]:
        return self.mine.openings(step, operator, element)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "digits-transformer")) for name in MODELS]
)
def test_an_honest_asserter_survives_a_false_challenge_of_every_operator(name: str) -> None:
    mine = honest(shipped(name))
    world = World(mine.graph)
    key = world.make(ALICE, mine)
    rng = np.random.default_rng(3)
    disputes = {}
    for operator, node in enumerate(mine.graph.nodes):
        if node.primitive != "constant":
            disputes[world.challenge(MALLORY, key, operator)] = Slander(mine, operator, rng)
    for _ in range(10):
        world.defend(ALICE, key, mine)
        for dispute, slander in disputes.items():
            position = world.dispute(dispute).position
            its = turn(world.assertion(key), world.dispute(dispute), world.now).side
            if position is not None and position.height == 0 and its is Side.CHALLENGER:
                move = challenger_move(world.state, dispute, slander, world.now)
                assert move is not None
                assert world.refused(MALLORY, move).__name__ == "StepAgrees"
            else:
                world.attack(MALLORY, dispute, slander)
        world.wait(1)
    world.wait(TERMS.challenger_clock_s + 1)
    world.defend(ALICE, key, mine)
    assert {world.dispute(dispute).result for dispute in disputes} == {Result.LOST}
    world.wait(TERMS.window_s)
    world.do(BOB, moves.Settle(key))
    assert world.assertion(key).status is Status.FINAL
    assert world.wealth(ALICE) == TERMS.defence_reward * len(disputes)


@pytest.mark.parametrize("seed", range(60))
def test_both_oracles_and_the_game_agree_on_random_graphs(seed: int) -> None:
    """Every primitive, any views: what is opened is enough for the step, and the step gives the executor's value."""
    graph = random_graph(seed)
    inputs = random_inputs(graph, seed)
    mine = Trace(Executor(graph), inputs)
    rng = np.random.default_rng(seed)
    for operator, node in enumerate(graph.nodes):
        if node.primitive in ("input", "constant"):
            continue
        values = mine.tensor(operator)
        place = int(rng.integers(values.size))
        operands = [mine.tensor(ref).reshape(-1) for ref in node.inputs]
        for oracle in (step, step_value):
            assert oracle(graph, operator, place, lambda k, at: int(operands[k][at])) == values.reshape(-1)[place]  # noqa: B023
        liar = with_false_output(mine, inputs, {operator: flipped(values, place)})
        world = World(graph, oracle=step_value)
        key = world.make(MALLORY, liar)
        world.fight(MALLORY, key, liar, BOB, difference(mine, step_value))
        assert slashed(world, key), node
