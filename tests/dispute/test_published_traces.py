"""Published traces: a false one falls in one transaction, and one that is not the committed one serves for nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.backends.optimistic.dispute_world import flipped, tall, with_false_output
from tests.dispute.dispute_chain import BOB, LIE, TRUTH, liar, player, rounds, site, status
from vml.backends.optimistic.records import Status
from vml.dispute.player import Habits
from vml.merkle import tensor_bytes


@pytest.mark.parametrize("damage", ["", "roots", "1.bin", "gone"])
def test_a_published_trace_is_refuted_in_one_move(damage: str, tmp_path: Path) -> None:
    """Unless what is at hand is not what was committed to: then the dispute is played."""
    where = site()
    mallory, key = liar(where, eager=True)
    folder = tmp_path / f"0x{key.hex()}"
    folder.mkdir()
    (folder / "roots").write_bytes(b"".join(LIE.roots))
    for node in range(len(LIE.roots)):
        (folder / f"{node}.bin").write_bytes(tensor_bytes(LIE.tensor(node)))
    if damage == "gone":
        (folder / "roots").unlink()
    elif damage:
        (folder / damage).write_bytes((folder / damage).read_bytes()[:-1] + b"\7")
    bob = player(where, BOB, habits=Habits(traces=tmp_path))
    rounds(mallory, bob)
    assert status(bob, key) is Status.SLASHED
    assert bob.store.sent()[0].kind == ("Challenge" if damage else "ProveFraud")


def test_a_published_list_that_does_not_hold_together_is_refuted_in_one_move(tmp_path: Path) -> None:
    where = site()
    unfit = with_false_output(TRUTH, tall()[1], {0: flipped(TRUTH.tensor(0), 9)})
    claimed = with_false_output(TRUTH, tall()[1], {})
    unfit.claim = claimed.claim  # type: ignore[method-assign]
    unfit.input_bytes = TRUTH.input_bytes  # type: ignore[method-assign]
    mallory, key = liar(where, lie=unfit, eager=True)
    folder = tmp_path / f"0x{key.hex()}"
    folder.mkdir()
    (folder / "roots").write_bytes(b"".join(unfit.roots))
    bob = player(where, BOB, habits=Habits(traces=tmp_path))
    rounds(mallory, bob)
    assert status(bob, key) is Status.SLASHED
    assert [each.kind for each in bob.store.sent()] == ["ProveList"]
