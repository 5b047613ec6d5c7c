"""From an ONNX file to a compiled model: import, calibrate, lower, validate, measure, certify."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from vml.errors import UnsupportedModel
from vml.model import certificate as records
from vml.model.calibration import (
    Calibration,
    FloatModel,
    Interval,
    digest,
    gather_rows,
    measure_ranges,
    row_count,
)
from vml.model.certificate import Certificate
from vml.model.compiled import KEPT_ROWS, Model
from vml.model.executor import Executor
from vml.model.importer import ImportedModel, import_model
from vml.model.lowering.driver import Lowered, LoweringOptions, lower_graph
from vml.model.measure import (
    boundary,
    compare_outputs,
    measure_layers,
    simplification_difference,
    worst_accumulator,
)
from vml.model.quantizer import FINE_BITS, declare_input, index_bound, is_scaled_first
from vml.model.semantics import SEMANTICS

if TYPE_CHECKING:
    from vml.model.graph import TensorSpec

Progress = Callable[[str, float], None]

TOOLS = ("vml", "numpy", "onnx", "onnxruntime", "onnxslim")
SIMPLIFICATION_TOLERANCE = 1e-4
"""Share of the largest output by which folding and fusing may move an output (float sums are reordered)."""

WIDTHS = (8, 16)


def compile_model(
    source: str | os.PathLike[str] | bytes,
    *,
    calibration: Mapping[str, Any] | None = None,
    input_range: Interval | Mapping[str, Interval] | None = None,
    holdout: Mapping[str, Any] | None = None,
    max_error: float | None = None,
    min_agreement: float | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    saturate_inputs: bool = False,
    bits: int = 16,
    weight_bits: int = 16,
    headroom: Fraction = Fraction(3, 2),
    simplify: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> Model:
    """Compile an ONNX model to exact integers.

    Args:
        source: path of an .onnx file, or its bytes.
        calibration: arrays by input name whose first axis counts rows; the last quarter is held out unless
            ``holdout`` is given.
        input_range: (lo, hi) in units for every input, or by input name. Without ``calibration``, rows are
            drawn from it. One of the two is required.
        holdout: rows that only judge.
        max_error: refuse the model if an output differs from onnxruntime by more, in units.
        min_agreement: refuse it if a smaller share of decisions agrees, 0 to 1.
        shapes: static shape by input name, for inputs with dynamic axes; a dynamic first axis becomes 1.
        saturate_inputs: clamp inputs outside their range instead of refusing them; part of the commitment.
        bits, weight_bits: width of activations and of weights, 8 or 16.
        headroom: factor on measured ranges before values saturate, at least 1.
        simplify: fold and fuse with onnxslim first.
        seed: for rows drawn from ``input_range``.
        progress: called with a stage's name and the share of it that is done.

    Returns:
        The model, not yet saved.

    Raises:
        UnsupportedModel: it cannot be compiled, or misses ``max_error`` or ``min_agreement``.
        UnsupportedOperator: nodes without a lowering, all of them.
        OutOfRange: a calibration row lies outside the declared range.
        ValueError: arguments that do not fit the model or each other.
        OSError: the file cannot be read.
        BackendUnavailable: the compile extra is not installed.
    """
    _check_arguments(max_error, min_agreement, bits, weight_bits, headroom)
    tell = progress or (lambda stage, share: None)
    tell("import", 0.0)
    imported = import_model(source, shapes=shapes, simplified=simplify)
    tell("import", 1.0)
    rows = gather_rows(imported.inputs, calibration, input_range, holdout, seed)
    exposed = FloatModel(imported.proto, exposed=True)
    limits = measure_ranges(exposed, rows.rows, lambda share: tell("calibrate", share))
    moved = _check_simplification(imported, rows)
    tell("lower", 0.0)
    declared = [
        declare_input(
            edge,
            rows,
            FINE_BITS if is_scaled_first(imported.proto.graph, edge.name) else bits,
            headroom,
            saturate_inputs,
            index_bound(imported.proto.graph, edge.name),
        )
        for edge in imported.inputs
    ]
    lowered = lower_graph(imported.proto, limits, declared, LoweringOptions(bits, weight_bits, headroom))
    lowered.graph.validate()
    tell("lower", 1.0)
    stored = imported.proto.SerializeToString(deterministic=True)
    options = records.Options(
        bits=bits,
        weight_bits=weight_bits,
        headroom=str(headroom),
        saturate_inputs=saturate_inputs,
        seed=rows.seed,
    )
    certificate = _certify(imported, rows, lowered, exposed, stored, moved, options, tell)
    _gate(certificate, max_error, min_agreement)
    kept = {name: array[:KEPT_ROWS] for name, array in rows.rows.items()}
    return Model(lowered.graph, stored, certificate, kept)


def _check_arguments(
    max_error: float | None, min_agreement: float | None, bits: int, weight_bits: int, headroom: Fraction
) -> None:
    if max_error is not None and not max_error > 0:
        raise ValueError(f"max_error must be above 0, not {max_error}")
    if min_agreement is not None and not 0 <= min_agreement <= 1:
        raise ValueError(f"min_agreement must be between 0 and 1, not {min_agreement}")
    if bits not in WIDTHS or weight_bits not in WIDTHS:
        raise ValueError(f"bits and weight_bits must be among {WIDTHS}, not {bits} and {weight_bits}")
    if headroom < 1:
        raise ValueError(f"headroom must be at least 1, not {headroom}")


def _check_simplification(imported: ImportedModel, rows: Calibration) -> float:
    """Run two rows before and after simplification. Raises UnsupportedModel where an output moved."""
    if imported.proto is imported.plain:
        return 0.0
    moved, magnitude = simplification_difference(FloatModel(imported.plain), FloatModel(imported.proto), rows.rows)
    if moved > SIMPLIFICATION_TOLERANCE * max(magnitude, 1e-30):
        raise UnsupportedModel(
            f"simplifying the model with onnxslim moved an output by {moved:.3g} (largest output: {magnitude:.3g}); "
            "compile it with simplify=False and report it to onnxslim"
        )
    return moved


def _certify(
    imported: ImportedModel,
    rows: Calibration,
    lowered: Lowered,
    exposed: FloatModel,
    stored: bytes,
    moved: float,
    options: records.Options,
    tell: Progress,
) -> Certificate:
    graph, executor, plain = lowered.graph, Executor(lowered.graph), FloatModel(imported.proto)
    on_rows = compare_outputs(
        graph, executor, plain, rows.rows, True, lambda share: tell("measure on calibration rows", share)
    )
    held_out = None
    if rows.holdout is not None:
        held_out = compare_outputs(
            graph, executor, plain, rows.holdout, False, lambda share: tell("measure on held-out rows", share)
        )
    measured = measure_layers(lowered, executor, exposed, rows.rows, lambda share: tell("measure layers", share))
    return Certificate(
        model=f"0x{graph.commitment.hex()}",
        semantics=SEMANTICS,
        source=records.Source(
            files=dict(imported.files),
            sha256=hashlib.sha256(stored).hexdigest(),
            notes=imported.notes,
            simplification_difference=moved,
        ),
        calibration=records.Data(origin=rows.origin, rows=row_count(rows.rows), sha256=digest(rows.rows)),
        holdout=None
        if rows.holdout is None
        else records.Data(origin=rows.holdout_origin, rows=row_count(rows.holdout), sha256=digest(rows.holdout)),
        inputs=tuple(_edge(spec) for spec in graph.inputs),
        outputs=tuple(_edge(spec) for spec in graph.outputs),
        differences=tuple(
            records.OutputDifference(
                name=name, calibration=on_rows[name], holdout=None if held_out is None else held_out[name]
            )
            for name in on_rows
        ),
        layers=measured.table(imported.proto),
        saturation=measured.saturation(),
        accumulator=worst_accumulator(graph),
        boundary=boundary(imported.proto, graph),
        options=options,
        versions={"python": sys.version.split()[0], **{tool: version(tool) for tool in TOOLS}},
    )


def _edge(spec: TensorSpec) -> records.Edge:
    header = spec.header
    return records.Edge(
        name=spec.name,
        shape=spec.shape,
        dtype=spec.onnx_dtype,
        scale=str(spec.scale),
        lo=header.lo,
        hi=header.hi,
        units=(float(header.lo / spec.scale), float(header.hi / spec.scale)),
    )


def _gate(certificate: Certificate, max_error: float | None, min_agreement: float | None) -> None:
    if max_error is not None and certificate.max_error > max_error:
        raise UnsupportedModel(
            f"an output differs from onnxruntime by {certificate.max_error:.4g}, more than {max_error:g}"
            + _worst(certificate)
        )
    if min_agreement is not None:
        agreement = certificate.agreement
        if agreement is None:
            raise ValueError("min_agreement is given, but no output has a decision to agree on")
        if agreement < min_agreement:
            raise UnsupportedModel(
                f"{agreement:.2%} of the decisions agree with onnxruntime, fewer than {min_agreement:.2%}"
                + _worst(certificate)
            )


def _worst(certificate: Certificate) -> str:
    lines = [
        f"  {layer.op} {layer.node or layer.tensor!r}: error {layer.max_error:.4g} on values up to "
        f"{layer.magnitude:.4g} ({layer.relative:.3%})"
        for layer in certificate.worst_layers()
    ]
    clamped = [
        f"  {s.name!r} clamped {s.clamped} of {s.of}"
        for s in sorted(certificate.saturation, key=lambda s: -s.clamped)
        if not s.into_table
    ]
    text = "\nlayers with the largest relative error:\n" + "\n".join(lines)
    if clamped:
        text += "\nsaturation:\n" + "\n".join(clamped[: records.WORST_LAYERS])
    return text
