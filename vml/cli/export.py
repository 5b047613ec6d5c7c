"""`vml export`: from PyTorch to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vml.cli.output import Debug, Json, Output, Quiet, add, command_app, size, table

app = command_app()


@app.command()
def export(
    target: Annotated[str, typer.Argument(metavar="SCRIPT.py:FACTORY", help="A function without arguments.")],
    output: Annotated[Path, typer.Option("-o", "--out", metavar="MODEL.onnx", help="Where the model goes.")],
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Export the PyTorch module that FACTORY returns, and compare the ONNX file with it.

    FACTORY returns (module, example_inputs) or (module, example_inputs, options). The script is run: export only what
    you trust.
    """
    from vml.model.export import export_factory

    script, colon, factory = target.rpartition(":")
    if not colon or not script or not factory.isidentifier():
        raise ValueError(f"{target!r} is not SCRIPT.py:FACTORY")
    out = Output(as_json, quiet)
    made = export_factory(script, factory, output)
    value = {
        "model": str(output),
        "bytes": len(made.onnx),
        "sha256": made.sha256,
        "opset": made.opset,
        "inputs": {name: list(shape) for name, shape in made.inputs.items()},
        "outputs": list(made.outputs),
        "max_difference": made.max_difference,
        "notes": list(made.notes),
    }
    out.result(value, lambda console: _show(console, value))


def _show(console: Any, value: dict[str, Any]) -> None:
    rows = table("", "")
    add(rows, "model", f"{value['model']} ({size(value['bytes'])}, opset {value['opset']})")
    add(rows, "sha-256", value["sha256"])
    add(rows, "inputs", "\n".join(f"{name} {shape}" for name, shape in value["inputs"].items()))
    add(rows, "outputs", "\n".join(value["outputs"]))
    add(rows, "differs from torch by", f"{value['max_difference']:.3g} at most")
    for note in value["notes"]:
        add(rows, "note", note)
    console.print(rows)
