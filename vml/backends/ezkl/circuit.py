"""Run arguments, settings and what they cost: the shape of an ezkl circuit.

ezkl lays cells out in blocks of ``num_inner_cols`` columns of 2^k rows; a circuit of ``num_rows`` rows takes
ceil(num_rows / (2^k - blinding)) blocks. The proving key, and with it time and memory, grows with the number
of columns times 2^k. The constants below are fits to keys and proofs measured while this was written;
``benchmarks/results/ezkl_autotune.json`` shows prediction and measurement side by side. Predictions only rank
candidates and refuse what cannot fit; nothing is proved with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from vml.backends.types import Visibility

BLINDING_ROWS = 6
MIN_LOG_ROWS, MAX_LOG_ROWS = 6, 22
WORD_BYTES = 32

_COLUMN_BASE = 44
_COLUMN_SLOPE = {1: 48, 2: 45, 4: 66, 8: 130}
_SHUFFLE_FACTOR = {1: 2.0, 2: 2.0, 4: 1.3, 8: 1.3}
_LOOKUP_COLUMNS = 14

LEAST_WORDS_PER_PRODUCT = min(_COLUMN_SLOPE.values())
"""Of the proving key: a product takes a cell at the least."""

SETUP_S_PER_WORD = 1.9e-6
PROVE_S_PER_WORD = 2.3e-6
START_S = 0.4
MEMORY_FACTOR = 2.8
MEMORY_BASE = 64 << 20


@dataclass(frozen=True)
class RunArgs:
    """ezkl's run arguments that vml sets; the rest stay at ezkl's defaults.

    Args:
        input_scale, param_scale: fixed point bits of inputs and weights.
        scale_rebase_multiplier: products are scaled back once they exceed this many times the larger scale.
        decomp_base, decomp_legs: numbers are decomposed into that many digits of that base.
        num_inner_cols: columns a block has.
        logrows: the circuit has 2^logrows rows.
        lookup_range: smallest and largest input of tabulated functions.
        input_visibility, param_visibility, output_visibility: in ezkl's words.
    """

    input_scale: int = 7
    param_scale: int = 7
    scale_rebase_multiplier: int = 1
    decomp_base: int = 16384
    decomp_legs: int = 2
    num_inner_cols: int = 2
    logrows: int = 17
    lookup_range: tuple[int, int] = (-32768, 32768)
    input_visibility: str = "public"
    param_visibility: str = "fixed"
    output_visibility: str = "public"

    def seen(self, visibility: Visibility) -> RunArgs:
        """The same arguments for a visibility of vml."""
        return replace(
            self,
            input_visibility="public" if visibility.input == "public" else "hashed",
            param_visibility="fixed" if visibility.model == "public" else "hashed",
        )

    def to_json(self) -> dict[str, Any]:
        """As the worker takes them."""
        return {**asdict(self), "lookup_range": list(self.lookup_range)}


@dataclass(frozen=True)
class Cost:
    """What a circuit costs, predicted.

    Args:
        log_rows: k.
        rows: of the layout, before it is cut into blocks.
        blocks: columns groups.
        key_words: field elements in the proving key; everything else is proportional.
    """

    log_rows: int
    rows: int
    blocks: int
    key_words: int

    @property
    def key_bytes(self) -> int:
        """Size of the proving key's file."""
        return self.key_words * WORD_BYTES

    @property
    def memory_bytes(self) -> int:
        """Peak resident memory of set-up and of proving."""
        return int(self.key_bytes * MEMORY_FACTOR) + MEMORY_BASE

    @property
    def setup_s(self) -> float:
        """Seconds to make the keys."""
        return START_S + self.key_words * SETUP_S_PER_WORD

    @property
    def prove_s(self) -> float:
        """Seconds for one proof."""
        return START_S + self.key_words * PROVE_S_PER_WORD


def cost(settings: Mapping[str, Any], log_rows: int | None = None) -> Cost:
    """Predict what a circuit costs.

    Args:
        settings: as ezkl writes them.
        log_rows: k, where another than the settings' own is considered.
    """
    arguments = settings["run_args"]
    k = arguments["logrows"] if log_rows is None else log_rows
    inner = arguments["num_inner_cols"]
    rows = max(
        settings["num_rows"],
        _ceil_div(settings["total_dynamic_col_size"], inner),
        _ceil_div(settings["total_shuffle_col_size"], inner),
    )
    blocks = max(1, _ceil_div(rows, (1 << k) - BLINDING_ROWS))
    nearest = max(size for size in _COLUMN_SLOPE if size <= inner)
    columns = _COLUMN_BASE + _COLUMN_SLOPE[nearest] * inner * blocks
    columns += _LOOKUP_COLUMNS * inner * blocks * len(settings["required_lookups"])
    hashed = sum(settings["module_sizes"]["poseidon"][1]) > 0
    columns += _COLUMN_BASE * 2 if hashed else 0
    if settings["num_shuffles"] or settings["num_dynamic_lookups"]:
        columns = int(columns * _SHUFFLE_FACTOR[nearest])
    return Cost(k, rows, blocks, columns << k)


def least_log_rows(settings: Mapping[str, Any]) -> int:
    """The smallest k whose tables, instances, hashes and constants fit.

    Args:
        settings: as ezkl writes them.
    """
    low, high = settings["run_args"]["lookup_range"]
    sizes = [high - low if settings["required_lookups"] else 1]
    sizes += [top - bottom for bottom, top in settings["required_range_checks"]]
    sizes.append(instance_count(settings))
    sizes.append(settings["module_sizes"]["poseidon"][0])
    sizes.append(settings["max_dynamic_input_len"])
    return max(MIN_LOG_ROWS, (max(sizes) + BLINDING_ROWS + 2).bit_length())


def instance_count(settings: Mapping[str, Any]) -> int:
    """How many instances a proof under these settings has."""
    total = sum(settings["module_sizes"]["poseidon"][1])
    for shape in settings["model_instance_shapes"]:
        size = 1
        for dimension in shape:
            size *= dimension
        total += size
    return int(total)


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)
