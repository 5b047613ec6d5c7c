"""Predicts what proving a model costs here: counted work times unit costs, scaled by a short measurement.

The unit costs in ``costs.json`` are nanoseconds for one unit of each kind of `work`, fitted to measured proofs
(``python -m benchmarks.sumcheck_costs``), beside the speeds of the machine that they were measured on. Three speeds are
measured anew, in a few hundredths of a second: folding a table of field elements and hashing, both on all threads, and
plain Python. Each cost belongs to one of them, and scales with it.

Memory is that of a process that proves and does nothing else: what an interpreter with the prover takes, the model,
and the arrays held at the worst moment. The proof's size is exact but for a few columns.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from vml.backends.sumcheck.setup import model_circuit
from vml.backends.sumcheck.work import Counts, work_of
from vml.backends.types import Estimate, Visibility

if TYPE_CHECKING:
    from vml.model import Model

COSTS = "costs.json"
SPEEDS = ("field", "hash", "python")
PYTHON_BOUND = frozenset({"always", "arranged", "nodes", "lookups", "products", "reads", "proof"})
"""Work that waits for the interpreter, not for arithmetic."""
HASHING = frozenset({"hashed"})

_REPEATS = 9
_LOG_TABLE, _LOG_NODES = 15, 13
_LOOP = 2000
_SPARE = 0.9
"""Share of the free memory that a proof may take."""


def estimate(model: Model, visibility: Visibility) -> Estimate:
    """Predict set-up and proof of one input.

    Raises:
        UnsupportedModel: the model has no proof; the message says why.
    """
    return predict(model, 1)


def predict(model: Model, batch: int) -> Estimate:
    """Predict set-up and one proof of ``batch`` inputs. Raises UnsupportedModel."""
    work = work_of(model_circuit(model, batch))
    costs, slower = read_costs(), slowness()
    memory = costs["process_bytes"] + constant_bytes(model) + max(work.setup_bytes, work.prove_bytes)
    free = available_bytes()
    reasons: tuple[str, ...] = ()
    if free is not None and memory > _SPARE * free:
        reasons = (f"needs about {memory / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free",)
    return Estimate(
        fits=not reasons,
        prove_s=sum(seconds(stage, counts, slower) for stage, counts in work.prove.items()),
        setup_s=seconds("setup", work.setup, slower),
        memory_bytes=memory,
        proof_bytes=work.proof_bytes,
        reasons=reasons,
    )


def constant_bytes(model: Model) -> int:
    """What a loaded model takes: its weights, and once more the file they came in."""
    return len(model.source) + sum(values.nbytes for values in model.graph.constants.values())


def seconds(stage: str, counts: Counts, slower: Mapping[str, float]) -> float:
    """One stage's seconds."""
    unit: dict[str, float] = read_costs()["ns"][stage]
    return sum(unit[name] * count * slower[speed_of(name)] for name, count in {**counts, "always": 1}.items()) / 1e9


def speed_of(name: str) -> str:
    """Which speed a kind of work goes by."""
    return "python" if name in PYTHON_BOUND else "hash" if name in HASHING else "field"


@cache
def read_costs() -> dict[str, Any]:
    """The unit costs, by stage and kind of work, and the speeds they were measured at."""
    value: dict[str, Any] = json.loads(resources.files(__package__).joinpath(COSTS).read_text())
    return value


def slowness() -> dict[str, float]:
    """How many times slower this machine is than the one the costs were measured on."""
    there, here = read_costs()["speeds_ns"], measure_speeds()
    return {name: here[name] / there[name] for name in SPEEDS}


def measure_speeds() -> dict[str, float]:
    """Nanoseconds for an element folded, a node hashed, a multiplication in plain Python; medians of short runs."""
    import numpy as np

    from vml.backends.sumcheck.opening import kernels
    from vml.field.goldilocks import mul
    from vml.kernels_keccak import DIGEST_WORDS, WIDTH
    from vml.threads import over_blocks

    half, nodes = 1 << _LOG_TABLE, 1 << _LOG_NODES
    table, out = np.ones((2 * half, 2), dtype=np.uint64), np.empty((half, 2), dtype=np.uint64)
    tree = np.zeros((4 * nodes, DIGEST_WORDS), dtype=np.uint64)
    three, five = np.uint64(3), np.uint64(5)

    def fold() -> None:
        over_blocks(half, lambda part: kernels.fold_ext(table, half, three, five, out, part.start, part.stop))

    def hashes() -> None:
        over_blocks(nodes // WIDTH, lambda part: kernels.hash_nodes(tree, nodes, part.start, part.stop))

    def plain() -> None:
        value = (3, 5)
        for _ in range(_LOOP):
            value = mul(value, value)

    return {"field": _median_ns(fold) / half, "hash": _median_ns(hashes) / nodes, "python": _median_ns(plain) / _LOOP}


def _median_ns(run: Callable[[], None]) -> float:
    """Median of a few runs after one that warms up."""
    run()
    spent = []
    for _ in range(_REPEATS):
        started = time.perf_counter_ns()
        run()
        spent.append(time.perf_counter_ns() - started)
    return statistics.median(spent)


def available_bytes() -> int | None:
    """Memory that is free on this machine; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    return None
