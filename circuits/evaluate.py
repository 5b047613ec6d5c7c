"""Compile every shipped model, run its held-out rows on exact integers, and record how they fare.

`python circuits/evaluate.py [NAME...]` writes `accuracy` and `integer` into each `info.json` and the table of
`README.md`. Figures in this folder come from here and from the `build.py` files, never from a keyboard.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from recording import run_float, sha256

from vml.model.compiler import compile_model

HERE = Path(__file__).resolve().parent
TABLE_START = "<!-- written by evaluate.py: start -->"
TABLE_END = "<!-- written by evaluate.py: end -->"


def evaluate(folder: Path) -> dict[str, Any]:
    """Compare the integer model with the float model on every held-out row.

    Args:
        folder: a circuit's folder.

    Returns:
        Accuracy of both, share of rows with the same arg max, largest and mean difference of a score.
    """
    with np.load(folder / "calibration.npz") as file:
        calibration = dict(file)
    with np.load(folder / "holdout.npz") as file:
        (name,) = [key for key in file.files if key != "labels"]
        rows, labels = file[name], file["labels"]
    model = compile_model(folder / "model.onnx", calibration=calibration)
    scores_name = model.outputs[0].name
    # A held-out row may leave the calibrated range: it saturates, as `--saturate-inputs` makes it.
    codes = [model.quantize({name: rows[i : i + 1]}, saturate=True) for i in range(len(rows))]
    answers = [model.dequantize(model.run(code)) for code in codes]
    integer = np.concatenate([answer[scores_name] for answer in answers])
    floats = run_float(str(folder / "model.onnx"), name, rows)
    difference = np.abs(integer - floats)
    return {
        "accuracy": {
            "float_holdout": round(float((floats.argmax(1) == labels).mean()), 6),
            "integer_holdout": round(float((integer.argmax(1) == labels).mean()), 6),
        },
        "integer": {
            "agreement": round(float((integer.argmax(1) == floats.argmax(1)).mean()), 6),
            "max_error": float(f"{difference.max():.4g}"),
            "mean_error": float(f"{difference.mean():.4g}"),
            "score_range": [float(f"{floats.min():.4g}"), float(f"{floats.max():.4g}")],
            "model_sha256": sha256(folder / "model.onnx"),
        },
    }


def table(infos: list[dict[str, Any]]) -> str:
    """The models as a Markdown table."""
    lines = [
        "| model | input | weights | operators | float accuracy | integer accuracy | same decision | largest error |",
        "|---|---|---:|---|---:|---:|---:|---:|",
    ]
    for info in infos:
        shape = " × ".join(str(dim) for dim in info["inputs"][0]["shape"])
        lines.append(
            f"| `{info['name']}` | `{info['inputs'][0]['name']}` {shape} | {info['weights']:,} "
            f"| {', '.join(info['operators'])} | {info['accuracy']['float_holdout']:.2%} "
            f"| {info['accuracy']['integer_holdout']:.2%} | {info['integer']['agreement']:.2%} "
            f"| {info['integer']['max_error']:g} |"
        )
    return "\n".join(lines)


def main(names: list[str]) -> None:
    """Evaluate the named circuits, or all, then rewrite the table."""
    folders = sorted(path.parent for path in HERE.glob("*/info.json"))
    for folder in folders:
        if names and folder.name not in names:
            continue
        info = json.loads((folder / "info.json").read_text())
        info.update(evaluate(folder))
        (folder / "info.json").write_text(json.dumps(info, indent=2) + "\n")
        print(folder.name, json.dumps({**info["accuracy"], **info["integer"]}))
    infos = [json.loads((folder / "info.json").read_text()) for folder in folders]
    readme = HERE / "README.md"
    before, rest = readme.read_text().split(TABLE_START)
    after = rest.split(TABLE_END)[1]
    readme.write_text(f"{before}{TABLE_START}\n{table(infos)}\n{TABLE_END}{after}")


if __name__ == "__main__":
    main(sys.argv[1:])
