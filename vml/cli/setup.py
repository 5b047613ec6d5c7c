"""`vml setup`: keys of a model under a backend."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from vml.cli import arguments as args
from vml.cli.output import Debug, Json, Output, Quiet, add, command_app, headline, seconds, table

app = command_app()


@app.command()
def setup(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A compiled folder, or an .onnx file.")],
    backend: Annotated[str, typer.Option("--backend", help="Whose keys.")] = "ezkl",
    output: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Write what a verifier needs there.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Make the keys again from scratch and compare.")] = False,
    private: args.Private = "",
    hash_input: args.HashInput = False,
    calibrate: args.Calibrate = None,
    input_range: args.InputRange = None,
    max_error: Annotated[
        float | None, typer.Option("--max-error", metavar="E", help="Largest error against onnxruntime, in units.")
    ] = None,
    tune: Annotated[
        bool, typer.Option("--tune/--no-tune", help="Search the cheapest circuit, or take the backend's own.")
    ] = True,
    on_chain: args.OnChain = False,
    srs: args.Srs = None,
    memory_limit: args.MemoryLimit = None,
    time_limit: args.TimeLimit = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make a backend's keys for MODEL, or take them from the cache, and print the model identity to pin.

    The proving key stays in the cache (`vml cache list`), where `vml prove` finds it. The identity is recorded in a
    compiled folder, where `vml verify --model DIR` finds it.
    """
    from vml import api

    out = Output(as_json, quiet)
    visibility = args.read_visibility(private, hash_input)
    started = time.monotonic()
    with out.progress() as progress:
        compiled = args.read_model(model, calibrate, input_range, progress)
        options = args.setup_options(
            visibility,
            srs,
            memory_limit,
            time_limit,
            progress,
            max_error=max_error,
            tune=tune,
            check=check,
            on_chain=on_chain,
        )
        keys = api.setup(compiled, backend, options)
    if output is not None:
        api.save_verifying_key(keys, output)
    if keys.unsafe_setup:
        out.note("the set-up is a test one, anybody can forge proofs under it; see `vml srs import`")
    value = {
        **api.key_record(keys),
        "checked": check,
        "cached": None if keys.directory is None else str(keys.directory),
        "out": None if output is None else str(output),
        "seconds": round(time.monotonic() - started, 3),
    }
    out.result(value, lambda console: _show(console, value))


def _show(console: Any, value: dict[str, Any]) -> None:
    rows = table("", "")
    add(rows, "model", value["model"])
    add(rows, "scheme", value["scheme"])
    add(rows, "key digest", value["vk_digest"])
    add(rows, "set-up", f"{value['setup_id'] or 'none'}{' (unsafe)' if value['unsafe_setup'] else ''}")
    add(rows, "kept in", str(value["cached"]))
    if value["out"]:
        add(rows, "written to", value["out"])
    done = "made again and equal" if value["checked"] else "ready"
    headline(console, done, f"after {seconds(value['seconds'])}")
    console.print(rows)
