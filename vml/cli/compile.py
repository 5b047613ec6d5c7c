"""`vml compile`: from ONNX to exact integers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vml.cli import arguments as args
from vml.cli.output import Debug, Json, Output, Quiet, add, command_app, headline, hexed, seconds, table

if TYPE_CHECKING:
    from vml.model import Model

app = command_app()


@app.command()
def compile(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The ONNX file.")],
    output: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The compiled folder, NAME.vml.")],
    calibrate: args.Calibrate = None,
    input_range: args.InputRange = None,
    holdout: Annotated[Path | None, typer.Option("--holdout", help="Rows that only judge (.npz).")] = None,
    max_error: Annotated[
        float | None, typer.Option("--max-error", metavar="E", help="Refuse a larger error of an output, in units.")
    ] = None,
    min_agreement: Annotated[
        float | None, typer.Option("--min-agreement", metavar="A", help="Refuse if fewer decisions agree, 0 to 1.")
    ] = None,
    shape: Annotated[
        list[str] | None, typer.Option("--shape", metavar="NAME=1,3,32,32", help="Shape of a dynamic input.")
    ] = None,
    saturate_inputs: Annotated[
        bool, typer.Option("--saturate-inputs", help="Clamp inputs outside their range instead of refusing them.")
    ] = False,
    bits: Annotated[int, typer.Option("--bits", help="Width of activations, 8 or 16.")] = 16,
    weight_bits: Annotated[int, typer.Option("--weight-bits", help="Width of weights, 8 or 16.")] = 16,
    seed: Annotated[int, typer.Option("--seed", help="For rows drawn from --input-range.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compile MODEL.onnx to a folder with the exact integer model and a certificate of its error.

    Give samples (--calibrate) or a range (--input-range): scales are never guessed.
    """
    from vml import api
    from vml.arrays import load_arrays

    out = Output(as_json, quiet)
    if not output.absolute().parent.is_dir():
        output.absolute().parent.mkdir(parents=True)
    started = time.monotonic()
    with out.progress() as progress:
        compiled = api.compile(
            model,
            calibration=None if calibrate is None else load_arrays(calibrate),
            input_range=input_range,
            holdout=None if holdout is None else load_arrays(holdout),
            max_error=max_error,
            min_agreement=min_agreement,
            shapes=_shapes(shape or []),
            saturate_inputs=saturate_inputs,
            bits=bits,
            weight_bits=weight_bits,
            seed=seed,
            progress=progress,
        ).save(output)
    value = {
        "out": str(output),
        "model": hexed(compiled.commitment),
        "semantics": compiled.certificate.semantics,
        "nodes": len(compiled.graph.nodes),
        "inputs": [edge.model_dump() for edge in compiled.certificate.inputs],
        "outputs": [edge.model_dump() for edge in compiled.certificate.outputs],
        "max_error": compiled.certificate.max_error,
        "agreement": compiled.certificate.agreement,
        "warnings": list(compiled.certificate.boundary.warnings),
        "seconds": round(time.monotonic() - started, 3),
    }
    out.result(value, lambda console: _show(console, compiled, value))


def _shapes(texts: list[str]) -> dict[str, list[int]] | None:
    """Shapes by input name, from NAME=1,3,32,32."""
    shapes: dict[str, list[int]] = {}
    for text in texts:
        name, equals, dims = text.rpartition("=")
        if not equals or not name or not all(part.isdecimal() for part in dims.split(",")):
            raise ValueError(f"--shape {text!r} is not NAME=1,3,32,32")
        shapes[name] = [int(part) for part in dims.split(",")]
    return shapes or None


def _show(console: Any, model: Model, value: dict[str, Any]) -> None:
    certificate = model.certificate
    headline(console, "compiled", f"{value['out']} in {seconds(value['seconds'])}")
    rows = table("", "")
    add(rows, "model", value["model"])
    add(rows, "semantics", f"{value['semantics']}, {value['nodes']} nodes")
    for kind in ("inputs", "outputs"):
        for edge in value[kind]:
            shown = f"{edge['name']} {edge['dtype']}{list(edge['shape'])}, {edge['units'][0]:g} to {edge['units'][1]:g}"
            add(rows, kind[:-1], shown)
    for difference in certificate.differences:
        for name, part in (("calibration", difference.calibration), ("held out", difference.holdout)):
            if part is not None:
                agreed = "" if part.agreement is None else f", {part.agreement:.2%} of decisions agree"
                text = f"{difference.name}: at most {part.max_error:.3g}, {part.mean_error:.2g} on average{agreed}"
                add(rows, f"error, {name}", f"{text} ({part.rows} rows)")
    console.print(rows)
    layers = table("largest relative errors", "operator", "error", "of")
    for layer in certificate.worst_layers():
        add(layers, layer.tensor, layer.op, f"{layer.max_error:.3g}", f"{layer.magnitude:.3g}")
    console.print(layers)
    for warning in value["warnings"]:
        headline(console, "note", warning, "yellow")
