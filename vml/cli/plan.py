"""`vml plan`: the backends side by side."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vml.cli import arguments as args
from vml.cli.output import Debug, Json, Output, Quiet, add, command_app, seconds, size, table

if TYPE_CHECKING:
    from vml.api import Option
    from vml.backends.types import DisputeEstimate

app = command_app()


@app.command()
def plan(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A compiled folder, or an .onnx file.")],
    private: args.Private = "",
    hash_input: args.HashInput = False,
    batch: Annotated[bool, typer.Option("--batch", help="Several inputs in one proof.")] = False,
    calibrate: args.Calibrate = None,
    input_range: args.InputRange = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say for every backend whether MODEL fits, how long a proof takes, and whom it makes you trust.

    Nothing is set up or proved. Times and sizes are predictions for this machine.
    """
    from vml import api

    out = Output(as_json, quiet)
    visibility = args.read_visibility(private, hash_input)
    with out.progress() as progress:
        compiled = args.read_model(model, calibrate, input_range, progress)
        options = api.plan(compiled, visibility, batch=batch)
    best = api.picked(options)
    pick = None if best is None else best.backend
    value = {"pick": pick, "visibility": str(visibility), "backends": [_row(option) for option in options]}
    out.result(value, lambda console: _show(console, options, best))


def _row(option: Option) -> dict[str, Any]:
    able, cost = option.capabilities, option.estimate
    return {
        "backend": option.backend,
        "serves": option.serves,
        "why": list(option.why),
        "prove_s": cost.prove_s if cost else None,
        "setup_s": cost.setup_s if cost else None,
        "memory_bytes": cost.memory_bytes if cost else None,
        "proof_bytes": cost.proof_bytes if cost else None,
        "disputes": [_dispute(worst) for worst in cost.disputes] if cost else [],
        "assurance": able.assurance,
        "semantics": able.semantics,
        "trusts": list(able.trusts),
        "can_hide": [f"input: {how}" for how in able.inputs if how != "public"]
        + [f"model: {how}" for how in able.models if how != "public"],
        "needs_setup": able.needs_setup,
        "on_chain": able.on_chain,
        "batch": able.batch,
    }


def _dispute(worst: DisputeEstimate) -> dict[str, Any]:
    """The worst dispute under one profile; wei as decimal strings, which no reader of JSON rounds."""
    value = asdict(worst)
    return {name: str(item) if name.endswith("_bond") else item for name, item in value.items()}


def _worst(row: dict[str, Any]) -> str:
    """The worst disputes in words."""
    lines = []
    for worst in row["disputes"]:
        gas = worst["asserter_gas"] + worst["challenger_gas"]
        lines.append(f"{worst['profile']}: {gas / 1e6:.2f} M gas, the last step {worst['step_gas'] / 1e6:.2f} M")
        lines.append(f"  over after {worst['resolution_s'] / 86_400:.1f} days, window {worst['window_s'] / 3600:.1f} h")
        bonds = [int(worst[name]) / 1e18 for name in ("asserter_bond", "challenger_bond")]
        lines.append(f"  bonds {bonds[0]:.4g} and {bonds[1]:.4g} ether")
    return "\n".join(lines) or "none"


def _show(console: Any, options: tuple[Option, ...], best: Option | None) -> None:
    from vml.api.planning import WITHOUT, without

    pick = None if best is None else best.backend
    rows = table("", *(f"{option.backend} *" if option.backend == pick else option.backend for option in options))
    shown = [_row(option) for option in options]
    for title, cell in (
        ("can serve", lambda row: "yes" if row["serves"] else "no"),
        ("why", lambda row: "\n".join(row["why"])),
        ("prove", lambda row: seconds(row["prove_s"])),
        ("set up once", lambda row: seconds(row["setup_s"])),
        ("memory", lambda row: size(row["memory_bytes"])),
        ("proof", lambda row: size(row["proof_bytes"])),
        ("worst dispute", _worst),
        ("assurance", lambda row: row["assurance"]),
        ("arithmetic", lambda row: row["semantics"]),
        ("you trust", lambda row: "\n".join(row["trusts"])),
        ("can hide", lambda row: "\n".join(row["can_hide"]) or "nothing"),
        ("on chain", lambda row: "yes" if row["on_chain"] else "no"),
    ):
        add(rows, title, *(cell(row) for row in shown))
    console.print(rows)
    if best is not None:
        console.print(f"* is what --backend auto takes: {best.why[0]}")
    else:
        others = [f"{WITHOUT[how]}: {', '.join(names)}" for how, names in without(options).items()]
        console.print("; ".join(["no backend can serve here with a proof", *others]))
