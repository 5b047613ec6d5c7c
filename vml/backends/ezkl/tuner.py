"""Searches run arguments for the least predicted cost within a stated error against onnxruntime.

The error depends on the two scales and on how often products are scaled back; the cost depends on those and
on how numbers are decomposed, how many columns a block has and how many rows there are. So:

1. find the smallest scales whose error is allowed, for every rebase multiplier that could still win;
2. bisect how many bits the largest intermediate value takes, and add a margin;
3. for every way to cut those bits into digits, and one or two columns, lay the circuit out and predict.

The cheapest candidate that stays within the error on all calibration rows wins. Errors are measured with
ezkl's own executor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vml.backends.ezkl.circuit import (
    MAX_LOG_ROWS,
    Cost,
    RunArgs,
    cost,
    least_log_rows,
)
from vml.backends.ezkl.commitments import value_of
from vml.backends.ezkl.process import Engine, EngineFailed
from vml.backends.ezkl.sample import Sample, write_input
from vml.backends.ezkl.statement import felt_to_word
from vml.backends.types import Progress
from vml.errors import UnsupportedModel

MULTIPLIERS = (10, 4, 2, 1)
SCALES = (3, 5, 7, 9, 11, 13, 15)
MORE_BITS = 3
SEARCH_ROWS = 3
MARGIN_BITS = 1
MAX_LEGS = 4
MAX_BITS = 52
MAX_DIGIT_BITS = 16
MAX_COLUMNS = 8
"""Of all blocks together: each one makes the proof longer and an on-chain check dearer."""
ON_CHAIN_COLUMNS = 1
"""Where a contract checks the proofs: more rows cost it next to nothing, more columns much."""

DEFAULT_RELATIVE_ERROR = 0.02
LOOKUP_MARGIN = 2
_PROBE_BITS = 60
_CONTEXT_BITS = 17


@dataclass(frozen=True)
class Tuned:
    """A circuit that was chosen.

    Args:
        run_args: the arguments.
        cost: predicted.
        error: largest absolute error against onnxruntime on the sample; 0 where all outputs are integers.
        allowed: the error that was allowed; None where none was stated.
        tried: how many layouts were looked at.
    """

    run_args: RunArgs
    cost: Cost
    error: float
    allowed: float | None
    tried: int


@dataclass(frozen=True)
class _Scaled:
    """Scales within the error, the bits their numbers take, and what tabulated functions met."""

    arguments: RunArgs
    bits: int
    lookups: tuple[int, int]

    def wider(self) -> _Scaled:
        """The same with room for larger numbers."""
        return replace(self, bits=self.bits + 1, lookups=(self.lookups[0] * 2, self.lookups[1] * 2))

    def led_to(self, winner: RunArgs) -> bool:
        """Whether a layout came from here; multipliers differ between options."""
        return winner.scale_rebase_multiplier == self.arguments.scale_rebase_multiplier


class Tuner:
    """One search.

    Args:
        engine: a running ezkl.
        model: path of the wrapped graph.
        sample: calibration rows.
        base: visibilities are taken from here.
        folder: for scratch files.
        columns: of all blocks together, at most.
    """

    def __init__(
        self,
        engine: Engine,
        model: Path,
        sample: Sample,
        base: RunArgs,
        folder: Path,
        columns: int = MAX_COLUMNS,
    ) -> None:
        self._engine, self._model, self._sample = engine, str(model), sample
        self._base, self._folder, self._columns = base, folder, columns
        self._few = sample.some(SEARCH_ROWS)
        self._tried = 0
        self._prices: dict[RunArgs, tuple[RunArgs, Cost] | None] = {}
        self.refusal: EngineFailed | None = None

    def search(self, max_error: float | None = None, progress: Progress | None = None) -> Tuned:
        """Find the cheapest circuit.

        Args:
            max_error: largest absolute error allowed; None allows 2 % of the largest output.
            progress: called as candidates are tried.

        Raises:
            UnsupportedModel: no candidate stays within the error.
        """
        if progress:
            progress("tuning", 0.0)
        allowed = DEFAULT_RELATIVE_ERROR * self._sample.spread if max_error is None else max_error
        start = self._confirmed(self._scales(allowed), allowed)
        options: list[_Scaled] = []
        for done, multiplier in enumerate(MULTIPLIERS):
            if progress:
                progress("tuning", (1 + done) / (1 + len(MULTIPLIERS)))
            scaled = self._rescaled(start, multiplier, allowed)
            best = min((price.key_words for _, price in self._layouts(options)), default=None)
            if scaled is None or (best is not None and self._bound(scaled) >= best):
                continue
            bits = self._bits(scaled)
            if bits is not None:
                options.append(_Scaled(scaled, bits + MARGIN_BITS, self._lookups))
        while layouts := list(self._layouts(options)):
            winner, price = min(layouts, key=lambda found: found[1].key_words)
            # The search looked at few rows; all rows decide.
            error = self.error(self._plain(winner), self._sample)
            if error is not None and error <= allowed:
                return Tuned(winner, price, error, allowed, self._tried)
            options = [option for option in options if not option.led_to(winner)] + [
                option.wider()
                for option in options
                if option.led_to(winner) and error is None and option.bits < MAX_BITS
            ]
        raise self._hopeless(allowed)

    def _hopeless(self, allowed: float) -> UnsupportedModel:
        why = f" (the last refusal: {self.refusal.message[:300]})" if self.refusal else ""
        return UnsupportedModel(
            f"no ezkl circuit stays within an error of {allowed:.3g}; allow more with max_error{why}"
        )

    def default(self, max_error: float | None = None, target: str = "resources") -> Tuned:
        """What ezkl's own calibration chooses from its default grid, with its error and cost.

        Args:
            max_error: refuse more; None takes what comes.
            target: ``resources`` or ``accuracy``, in ezkl's words.

        Raises:
            UnsupportedModel: the error is above `max_error`.
        """
        settings_file, data = str(self._folder / "default.json"), self._folder / "rows.json"
        rows = [json.loads(Path(file).read_text())["input_data"] for file in self._sample.files]
        write_input(data, [[v for row in rows for v in row[i]] for i in range(len(rows[0]))])
        self._engine.call("gen_settings", model=self._model, settings=settings_file, run_args=self._base.to_json())
        settings = self._engine.call(
            "calibrate", data=str(data), model=self._model, settings=settings_file, target=target
        )
        chosen = {k: v for k, v in settings["run_args"].items() if k in asdict(self._base)}
        chosen["lookup_range"] = tuple(chosen["lookup_range"])
        visible = {k: v for k, v in asdict(self._base).items() if k.endswith("visibility")}
        arguments = RunArgs(**{**chosen, **visible})
        error = self.error(arguments, self._sample)
        if error is None:
            raise UnsupportedModel(f"ezkl's own calibration does not run on its own sample: {self.refusal}")
        if max_error is not None and error > max_error:
            raise UnsupportedModel(f"ezkl's own calibration errs by {error:.3g}, {max_error:.3g} is allowed")
        return Tuned(arguments, cost(self._settings), error, max_error, 1)

    def error(self, arguments: RunArgs, sample: Sample | None = None) -> float | None:
        """Largest absolute error on a sample, the few rows of the search by default; None where it cannot run."""
        sample = sample or self._few
        runs = self._run(arguments, sample)
        if runs is None:
            return None
        settings = self._settings
        worst = 0.0
        for run, expected in zip(runs, sample.outputs, strict=True):
            scales = settings["model_output_scales"]
            for values, scale, wanted in zip(run["outputs"], scales, expected, strict=False):
                if wanted is not None:
                    got = np.array([_signed(felt) for felt in values], np.float64) / 2.0**scale
                    worst = max(worst, float(np.abs(got - wanted).max()))
        return worst

    def _run(self, arguments: RunArgs, sample: Sample) -> list[dict[str, Any]] | None:
        """Lay out, compile, and run a sample; None where ezkl refuses."""
        settings, compiled = str(self._folder / "probe.json"), str(self._folder / "probe.bin")
        self._tried += 1
        try:
            self._settings = self._engine.call(
                "gen_settings", model=self._model, settings=settings, run_args=arguments.to_json()
            )
            self._engine.call("compile", model=self._model, compiled=compiled, settings=settings)
            runs: list[dict[str, Any]] = self._engine.call(
                "witnesses",
                data=list(sample.files),
                compiled=compiled,
                witness=str(self._folder / "probe.wit"),
            )
        except EngineFailed as failure:
            if failure.kind not in ("error", "panic"):
                raise
            self.refusal = failure
            return None
        self._lookups = _lookup_range(runs)
        return runs

    def _generous(self, input_scale: int, param_scale: int, multiplier: int) -> RunArgs:
        """Arguments under which only the scales matter, with nothing hashed, which would only take time."""
        return replace(
            RunArgs(),
            input_scale=input_scale,
            param_scale=param_scale,
            scale_rebase_multiplier=multiplier,
            decomp_base=1 << 12,
            decomp_legs=_PROBE_BITS // 12,
            num_inner_cols=1,
            logrows=MAX_LOG_ROWS,
        )

    def _scales(self, allowed: float) -> RunArgs:
        """The smallest scales within the error, scaling back as seldom as the range of numbers allows."""
        for multiplier in MULTIPLIERS:
            both = self._equal_scales(multiplier, allowed)
            if both is not None:
                break
        else:
            raise self._hopeless(allowed)

        def fits(input_scale: int, param_scale: int) -> bool:
            return self._within(self._generous(input_scale, param_scale, multiplier), allowed)

        source = _least(1, both, lambda scale: fits(scale, both)) or both
        weights = _least(1, both, lambda scale: fits(source, scale)) or both
        return self._generous(source, weights, multiplier)

    def _equal_scales(self, multiplier: int, allowed: float) -> int | None:
        """The smallest scale that serves inputs and weights alike; None if none does."""

        def fits(scale: int) -> bool:
            return self._within(self._generous(scale, scale, multiplier), allowed)

        # Upwards, not by bisection from above: large scales fail as well, by overflow.
        below = 1
        for scale in SCALES:
            if fits(scale):
                return _least(below + 1, scale, fits)
            below = scale
        return None

    def _within(self, arguments: RunArgs, allowed: float) -> bool:
        error = self.error(arguments)
        return error is not None and error <= allowed

    def _rescaled(self, start: RunArgs, multiplier: int, allowed: float) -> RunArgs | None:
        """The scales under another multiplier; a bit or two more may make up for scaling back more often."""
        if multiplier == start.scale_rebase_multiplier:
            return start
        for more in range(MORE_BITS + 1):
            arguments = self._generous(start.input_scale + more, start.param_scale + more, multiplier)
            if self._within(arguments, allowed):
                return arguments
        return None

    def _confirmed(self, start: RunArgs, allowed: float) -> RunArgs:
        """The scales, raised until all rows are within the error, scaled back more often where they overflow."""
        first = MULTIPLIERS.index(start.scale_rebase_multiplier)
        for multiplier in MULTIPLIERS[first:]:
            for more in range(MORE_BITS + 1):
                arguments = self._generous(start.input_scale + more, start.param_scale + more, multiplier)
                error = self.error(arguments, self._sample)
                if error is not None and error <= allowed:
                    return arguments
        raise self._hopeless(allowed)

    def _bits(self, arguments: RunArgs) -> int | None:
        """How many bits the largest decomposed value takes on the sample, found by bisection."""

        def fits(half: int) -> bool:
            cut = replace(arguments, decomp_base=1 << half, decomp_legs=2)
            return self._run(cut, self._few) is not None

        half = _least(_CONTEXT_BITS // 2, MAX_BITS // 2, fits)
        return None if half is None else 2 * half

    def _bound(self, scaled: RunArgs) -> int:
        """A lower bound of what these scales can cost: the fewest digits there can be, at any number of rows."""
        arguments = replace(self._hidden(scaled), decomp_base=1 << (_CONTEXT_BITS // 2 + 1), decomp_legs=2)
        priced = self._price(arguments)
        return 0 if priced is None else priced[1].key_words

    def _hidden(self, arguments: RunArgs) -> RunArgs:
        """The same arguments with the visibilities that the circuit will have."""
        return replace(
            arguments,
            input_visibility=self._base.input_visibility,
            param_visibility=self._base.param_visibility,
            output_visibility=self._base.output_visibility,
        )

    def _plain(self, arguments: RunArgs) -> RunArgs:
        """The same arguments with nothing hashed, for runs that only look at values."""
        plain = RunArgs()
        return replace(arguments, input_visibility=plain.input_visibility, param_visibility=plain.param_visibility)

    def _layouts(self, options: Sequence[_Scaled]) -> Iterator[tuple[RunArgs, Cost]]:
        """Every way to decompose and to arrange columns, with its predicted cost."""
        for option in options:
            for legs in range(1, MAX_LEGS + 1):
                digit = math.ceil(max(option.bits, _CONTEXT_BITS) / legs)
                if not 2 <= digit <= MAX_DIGIT_BITS:
                    continue
                for inner in (1, 2):
                    arguments = replace(
                        self._hidden(option.arguments),
                        decomp_base=1 << digit,
                        decomp_legs=legs,
                        num_inner_cols=inner,
                        lookup_range=option.lookups,
                    )
                    if arguments not in self._prices:
                        self._prices[arguments] = self._price(arguments)
                    priced = self._prices[arguments]
                    if priced is not None:
                        yield priced

    def _price(self, arguments: RunArgs) -> tuple[RunArgs, Cost] | None:
        """Lay a candidate out and choose its number of rows."""
        settings_file = str(self._folder / "probe.json")
        self._tried += 1
        try:
            settings = self._engine.call(
                "gen_settings", model=self._model, settings=settings_file, run_args=arguments.to_json()
            )
        except EngineFailed as failure:
            if failure.kind not in ("error", "panic"):
                raise
            self.refusal = failure
            return None
        price = cheapest_rows(settings, self._columns)
        return replace(arguments, logrows=price.log_rows), price


def _least(low: int, high: int, fits: Callable[[int], bool]) -> int | None:
    """The smallest number that fits, taken to be monotone; None if none does."""
    if low < high and not fits(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return high


def cheapest_rows(settings: Mapping[str, Any], columns: int = MAX_COLUMNS) -> Cost:
    """Choose k for a layout: the least predicted cost, with a bound on the number of columns."""
    options = [cost(settings, k) for k in range(least_log_rows(settings), MAX_LOG_ROWS + 1)]
    inner = settings["run_args"]["num_inner_cols"]
    narrow = [option for option in options if option.blocks * inner <= columns]
    return min(narrow or options[-1:], key=lambda option: option.key_words)


def _signed(felt: str) -> int:
    """A value in ezkl's spelling as a signed integer."""
    return value_of(felt_to_word(felt))


def _lookup_range(runs: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """What tabulated functions met, widened on both sides."""
    low = min((int(run["min_lookup_inputs"]) for run in runs), default=0)
    high = max((int(run["max_lookup_inputs"]) for run in runs), default=0)
    return min(low * LOOKUP_MARGIN, -1), max(high * LOOKUP_MARGIN, 1)
