"""`vml prove`: run a model and prove the run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vml.cli import arguments as args
from vml.cli.attested import DEFAULT_SEED, describe, read_attesting
from vml.cli.output import Debug, Json, Output, Quiet, add, command_app, headline, hexed, seconds, size, table

if TYPE_CHECKING:
    from vml.model import Model
    from vml.proof import Proof

app = command_app()

UNSAFE = "the set-up is a test one, anybody can forge this proof: verify needs --allow-unsafe-setup"


@app.command()
def prove(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A compiled folder, or an .onnx file.")],
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help=".json, .npz or .npy.")],
    output: Annotated[Path, typer.Option("-o", "--out", metavar="PROOF", help="Where the proof goes.")],
    backend: args.Backend = "auto",
    context: Annotated[
        str | None, typer.Option("--context", metavar="0xHEX|FILE", help="The one use the proof is good for.")
    ] = None,
    private: args.Private = "",
    hash_input: args.HashInput = False,
    batch: Annotated[bool, typer.Option("--batch", help="Prove every row of the inputs in one proof.")] = False,
    each: Annotated[
        bool, typer.Option("--each", help="One proof a row, into the folder PROOF; what is there is not made again.")
    ] = False,
    executor: Annotated[
        str, typer.Option("--executor", metavar="local|ray…", help="Who does the work: docs/serve-ray.md.")
    ] = "local",
    calibrate: args.Calibrate = None,
    input_range: args.InputRange = None,
    game: args.Game = None,
    chain_id: Annotated[int | None, typer.Option("--chain-id", metavar="N", help="Chain of --game.", min=1)] = None,
    terms: Annotated[str | None, typer.Option("--terms", metavar="0xDIGEST", help="Terms that --game offers.")] = None,
    asserter: Annotated[
        str | None, typer.Option("--asserter", metavar="ADDRESS", help="Who asserts, where no key signs.")
    ] = None,
    nonce: Annotated[int, typer.Option("--nonce", help="Tells apart assertions of one claim.", min=0)] = 0,
    commit_trace: Annotated[
        bool, typer.Option("--commit-trace", help="Commit to every operator's output (optimistic).")
    ] = False,
    keystore: args.Keystore = None,
    attester: Annotated[
        str | None,
        typer.Option("--attester", metavar="URL", help="Who runs and signs (tee): http://host:port or unix:/path."),
    ] = None,
    simulate: Annotated[
        str | None, typer.Option("--simulate", metavar="KIND", help="Simulated evidence (tee), which shows nothing.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", metavar="exact|float", help="What runs the model inside (tee).")
    ] = None,
    tee_nonce: Annotated[
        str | None, typer.Option("--tee-nonce", metavar="0xHEX", help="32 bytes that the evidence must answer (tee).")
    ] = None,
    seed: args.Seed = DEFAULT_SEED,
    on_chain: args.OnChain = False,
    srs: args.Srs = None,
    memory_limit: args.MemoryLimit = None,
    time_limit: args.TimeLimit = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run MODEL on INPUT and write a proof of the run.

    Keys are made on the way and kept for the next time (`vml setup` makes them beforehand). Without --context the
    proof can be replayed by anybody, on purpose.

    With --backend optimistic nothing is proved: what comes out is an assertion bundle, for the dispute game that
    --game, --chain-id and --terms name, signed with the key of --keystore or VML_PRIVATE_KEY where there is one.
    With --backend tee the model runs where --attester listens, in trusted hardware, whose key signs the claim: as exact
    integers, or with --engine float its ONNX file in onnxruntime, which is another claim.

    With --executor ray the proofs are made by a cluster: ray starts one on this machine, ray:HOST:PORT joins one,
    ray://HOST:PORT asks one from outside. Several inputs then mean --each, unless --batch is given.
    """
    from vml import api, files
    from vml.backends.types import Asserting
    from vml.cli import prove_each
    from vml.ray import is_ray

    out = Output(as_json, quiet)
    remote = is_ray(executor)
    if executor != "local" and not remote:
        raise ValueError(f"executor {executor!r}: local, ray, ray:HOST:PORT or ray://HOST:PORT")
    if each and batch:
        raise ValueError("--each makes one proof a row, --batch one of all: choose")
    each = each or (remote and len(inputs) > 1 and not batch)
    if len(inputs) > 1 and not batch and not each:
        raise ValueError(f"{len(inputs)} inputs: --batch proves them together, --each one by one")
    bound_to, preimage = args.read_context(context)
    visibility = args.read_visibility(private, hash_input)
    attesting = read_attesting(attester, simulate, tee_nonce, seed, backend, engine)
    files.require_writable(output / "proof" if each and output.is_dir() else output)

    started = time.monotonic()
    with out.progress() as progress:
        compiled = args.read_model(model, calibrate, input_range, progress)
        rows = [] if each else _rows(inputs, compiled, batch)
        why = "it was asked for"
        if backend == "auto" and on_chain:
            backend, why = "ezkl", "its proofs can be checked by a contract"
        if backend == "auto":
            choice = api.choose_backend(compiled, visibility, batch=batch)
            backend, why = choice.backend, choice.why
            out.note(f"backend {backend}: {why}")
        api.require_batch(backend, batch, len(rows) or 1)
        asserting = args.read_asserting(
            game, chain_id, terms, asserter, keystore, nonce=nonce, commit_trace=commit_trace
        )
        options = args.setup_options(
            visibility,
            srs,
            memory_limit,
            time_limit,
            progress,
            on_chain=on_chain,
            asserting=None if asserting == Asserting() else asserting,
            attesting=attesting,
        )
        keys = api.setup(compiled, backend, options)
        ready = time.monotonic()
        asked = prove_each.Asked(compiled, keys, bound_to, preimage, visibility, executor)
        if each:
            made = prove_each.into_folder(asked, inputs, output, progress)
        elif remote:
            proof = prove_each.elsewhere(asked, rows, progress)
        else:
            proof = api.prove(
                compiled,
                rows if batch else rows[0],
                backend=backend,
                context=bound_to,
                visibility=visibility,
                keys=keys,
                progress=progress,
            )
    done = time.monotonic()
    if each:
        if keys.unsafe_setup:
            out.note(UNSAFE)
        times = {"setup_s": round(ready - started, 3), "prove_s": round(done - ready, 3)}
        prove_each.tell(out, asked, output, made, {"why": why, **times})
        return
    if preimage is not None:
        proof = api.with_context_preimage(proof, preimage)
    proof.save(output)
    opening = api.save_opening(proof, keys, output)
    if keys.unsafe_setup:
        out.note(UNSAFE)
    described = describe(proof)
    if attesting is not None and attesting.simulate is not None:
        out.note("the evidence is simulated and shows nothing: verify needs --allow-simulated")
    value = {
        "proof": str(output),
        "bytes": output.stat().st_size,
        "backend": backend,
        "why": why,
        "scheme": proof.scheme,
        "claims": [{**claim.to_json(), "digest": hexed(claim.digest())} for claim in proof.claims],
        "output": proof.public.get("output"),
        "opening": None if opening is None else str(opening),
        "unsafe_setup": keys.unsafe_setup,
        "setup_s": round(ready - started, 3),
        "prove_s": round(done - ready, 3),
        **described,
    }
    out.result(value, lambda console: _show(console, value, proof))


def _rows(paths: list[Path], model: Model, batch: bool) -> list[dict[str, Any]]:
    """The inputs, one mapping a row; without `batch` there is exactly one."""
    from vml.arrays import load_arrays

    rows: list[dict[str, Any]] = []
    for path in paths:
        arrays = load_arrays(path, model.inputs, rows=batch)
        counts = {len(array) if batch else 1 for array in arrays.values()}
        if len(counts) != 1:
            raise ValueError(f"{path}: the inputs have different numbers of rows")
        if batch:
            rows += [{name: array[i : i + 1] for name, array in arrays.items()} for i in range(counts.pop())]
        else:
            rows.append(arrays)
    # A value out of range is refused here, before it costs a set-up.
    for row in rows:
        model.quantize(row)
    return rows


def _show(console: Any, value: dict[str, Any], proof: Proof) -> None:
    headline(console, "proved", f"by {value['backend']} in {seconds(value['prove_s'])}: {value['why']}")
    rows = table("", "")
    for number, claim in enumerate(value["claims"], 1):
        if len(value["claims"]) > 1:
            add(rows, "claim", f"{number} of {len(value['claims'])}")
        for name, text in claim.items():
            add(rows, name, text)
    add(rows, "proof", f"{value['proof']} ({size(value['bytes'])})")
    add(rows, "keys", f"ready after {seconds(value['setup_s'])}")
    if value["opening"]:
        add(rows, "opening", f"{value['opening']}: keep it secret, it opens the hidden input")
    for name in ("engine", "appraisal_policy", "key_id", "nonce"):
        if name in value:
            add(rows, name.replace("_", " "), value[name])
    console.print(rows)
