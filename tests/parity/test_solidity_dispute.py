"""The dispute game in Python and in Solidity: all tests of the one are played on both, move by move."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.backends.optimistic import test_dispute_attacks as attacks
from tests.backends.optimistic import test_dispute_fuzz as fuzz
from tests.backends.optimistic import test_dispute_inputs as inputs
from tests.backends.optimistic import test_dispute_refusals as refusing
from tests.backends.optimistic import test_dispute_rules as rules
from tests.backends.optimistic.dispute_world import World
from tests.parity.dispute_mirror import Mirror, mirrored


@pytest.fixture(autouse=True)
def mirrors(monkeypatch: pytest.MonkeyPatch, artifacts: dict[str, Any]) -> list[Mirror]:
    """Every world made in a test is played on the contract, too."""
    made: list[Mirror] = []
    begin = World.__init__

    def both(self: World, *graphs: Any, **options: Any) -> None:
        begin(self, *graphs, **options)
        made.append(mirrored(self, artifacts))

    monkeypatch.setattr(World, "__init__", both)
    return made


for module in (attacks, inputs, refusing, rules):
    for name, function in vars(module).items():
        if name.startswith("test_"):
            globals()[name] = function


class TestPlays(fuzz.Game.TestCase):
    """The stateful fuzzing of both: honest players and everybody else, in any order and at any second."""

    settings = settings(
        max_examples=8,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
