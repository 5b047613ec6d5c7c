"""`vml prove --each` and `--executor ray`: a folder of proofs, one a row; work that is done elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vml.cli.attested import describe
from vml.cli.failure import details
from vml.cli.output import Output, add, headline, hexed, seconds, size, table
from vml.errors import ProvingError, VmlError

if TYPE_CHECKING:
    from rich.console import Console

    from vml.backends.types import Keys, Progress, Visibility
    from vml.claim import Context
    from vml.model import Model
    from vml.proof import Proof
    from vml.ray import Made

PROOF, OPENING = ".proof.json", ".opening.json"
FAILURES = (VmlError, ValueError, TypeError, OSError, MemoryError)
"""What one input can fail with, and the others do not."""


@dataclass(frozen=True)
class Asked:
    """What every proof of one call has in common.

    Args:
        model: compiled.
        keys: of its set-up.
        context, preimage: what every proof is bound to, and what that stands for.
        visibility: what the proofs hide.
        executor: local, or a cluster's name.
    """

    model: Model
    keys: Keys
    context: bytes
    preimage: Context | None
    visibility: Visibility
    executor: str


@dataclass
class Entry:
    """One row and what became of it.

    Args:
        name: NAME-0001: of the file, counted over files of the same name.
        path: of the input.
        row: inside it, from 0.
        arrays: by input name; None where it could not be read.
        state: proved, kept or failed.
    """

    name: str
    path: Path
    row: int
    arrays: dict[str, Any] | None
    state: str = "failed"
    error: Exception | None = None
    proof: Proof | None = None
    opening: Path | None = None
    prove_s: float = 0.0
    node: str = ""


def elsewhere(asked: Asked, rows: Sequence[dict[str, Any]], progress: Progress | None) -> Proof:
    """One proof of all rows, made by a cluster and checked here; what opens it lies among the keys, as ever.

    Raises:
        ProvingError, BackendUnavailable, ValueError: as `vml.ray.prove_together`.
    """
    from vml.ray import connect, keep_opening, prove_together

    with connect(asked.executor) as cluster:
        made = prove_together(
            cluster,
            asked.model,
            rows,
            keys=asked.keys,
            context=asked.context,
            visibility=asked.visibility,
            progress=progress,
        )
    if made.proof is None:
        raise ProvingError("the cluster made no proof")
    keep_opening(made.proof, made.opening, asked.keys)
    return made.proof


def into_folder(asked: Asked, paths: Sequence[Path], folder: Path, progress: Progress | None) -> list[Entry]:
    """One proof a row into a folder; proofs of these claims that lie there are kept.

    Raises:
        FileExistsError: a file in the folder is a proof of something else.
        ProvingError: nothing can be proved at all, such as on a cluster that is too small.
    """
    from vml import api
    from vml.ray import keep_opening

    folder.mkdir(exist_ok=True)
    entries = _read(asked.model, paths)
    for entry in entries:
        if entry.arrays is not None and (folder / f"{entry.name}{PROOF}").exists():
            _keep(asked, entry, folder)
    waiting = [entry for entry in entries if entry.arrays is not None and entry.state != "kept"]
    for made in _results(asked, waiting, progress) if waiting else ():
        entry = waiting[made.index]
        entry.node, entry.prove_s, entry.error = made.node, made.seconds, made.error
        if made.proof is None:
            continue
        try:
            proof = made.proof if asked.preimage is None else api.with_context_preimage(made.proof, asked.preimage)
            place = folder / f"{entry.name}{PROOF}"
            keep_opening(made.proof, made.opening, asked.keys)
            # What opens a proof comes first: without it a hidden input is lost.
            entry.opening = api.save_opening(proof, asked.keys, place)
            proof.save(place)
            entry.proof, entry.state = proof, "proved"
        except OSError as error:
            entry.error = error
    return entries


def _read(model: Model, paths: Sequence[Path]) -> list[Entry]:
    """Every row of every file, in order. A file that cannot be read is one row that failed."""
    from vml.arrays import load_arrays

    counted: Counter[str] = Counter()
    entries = []
    for path in paths:
        rows: list[dict[str, Any] | None] = [None]
        failure: Exception | None = None
        try:
            arrays = load_arrays(path, model.inputs, rows=True)
            counts = {len(array) for array in arrays.values()}
            if len(counts) != 1:
                raise ValueError(f"{path}: the inputs have different numbers of rows")
            rows = [{name: array[i : i + 1] for name, array in arrays.items()} for i in range(counts.pop())]
        except FAILURES as error:
            failure = error
        for number, row in enumerate(rows):
            counted[path.stem] += 1
            entry = Entry(f"{path.stem}-{counted[path.stem]:04d}", path, number, row, error=failure)
            try:
                if row is not None:
                    model.quantize(row)
            except FAILURES as error:
                entry.arrays, entry.error = None, error
            entries.append(entry)
    return entries


def _keep(asked: Asked, entry: Entry, folder: Path) -> None:
    """Take a proof that lies there for the row's.

    Raises:
        FileExistsError: it is of something else.
    """
    from vml import api
    from vml.proof import Proof
    from vml.ray import check, claims_of

    place, opening = folder / f"{entry.name}{PROOF}", folder / f"{entry.name}{OPENING}"
    arrays = entry.arrays or {}
    try:
        claims = claims_of(asked.model, asked.keys, [arrays], asked.context)
        salt = api.read_opening(opening) if opening.is_file() else None
        entry.proof = check(
            Proof.load(place),
            asked.keys,
            asked.context,
            claims=claims,
            rows=[arrays],
            visibility=asked.visibility,
            salt=salt,
        )
    except FAILURES as error:
        raise FileExistsError(
            17,
            f"holds no proof of row {entry.row} of {entry.path} ({error}); remove it or choose another folder",
            place,
        ) from error
    entry.state, entry.opening = "kept", opening if opening.is_file() else None


def _results(asked: Asked, entries: Sequence[Entry], progress: Progress | None) -> Iterator[Made]:
    from vml.ray import connect, prove_each

    rows = [entry.arrays or {} for entry in entries]
    if asked.executor == "local":
        yield from _here(asked, rows, progress)
        return
    with connect(asked.executor) as cluster:
        yield from prove_each(
            cluster,
            asked.model,
            rows,
            keys=asked.keys,
            context=asked.context,
            visibility=asked.visibility,
            progress=progress,
        )


def _here(asked: Asked, rows: Sequence[dict[str, Any]], progress: Progress | None) -> Iterator[Made]:
    """One after the other in this process."""
    import time

    from vml import api
    from vml.ray import Made

    for index, row in enumerate(rows):

        def tell(stage: str, fraction: float, index: int = index) -> None:
            if progress:
                progress(f"{index} of {len(rows)} done, {stage}", (index + fraction) / len(rows))

        started = time.monotonic()
        proof, failure = None, None
        try:
            proof = api.prove(
                asked.model,
                row,
                backend=asked.keys.backend,
                context=asked.context,
                visibility=asked.visibility,
                keys=asked.keys,
                progress=tell,
            )
        except FAILURES as error:
            failure = error
        yield Made(index, proof, b"", "", time.monotonic() - started, failure)


def tell(out: Output, asked: Asked, folder: Path, entries: Sequence[Entry], more: dict[str, Any]) -> None:
    """Print what became of every row.

    Raises:
        typer.Exit: with 5, where a row failed.
    """
    counts = Counter(entry.state for entry in entries)
    value = {
        "folder": str(folder),
        "backend": asked.keys.backend,
        "scheme": asked.keys.scheme,
        "executor": asked.executor,
        "unsafe_setup": asked.keys.unsafe_setup,
        **{state: counts[state] for state in ("proved", "kept", "failed")},
        "proofs": [_entry_value(entry, folder) for entry in entries],
        **more,
    }
    failed = ProvingError(f"{counts['failed']} of {len(entries)} inputs failed")
    out.result(value, lambda console: _show(console, value), details(failed) if counts["failed"] else None)
    if counts["failed"]:
        for entry in entries:
            if entry.error is not None:
                out.note(f"{entry.path} row {entry.row}: {type(entry.error).__name__}: {entry.error}")
        raise typer.Exit(ProvingError.exit_code)


def _entry_value(entry: Entry, folder: Path) -> dict[str, Any]:
    place = folder / f"{entry.name}{PROOF}"
    proof = entry.proof
    return {
        "input": str(entry.path),
        "row": entry.row,
        "state": entry.state,
        "proof": None if proof is None else str(place),
        "bytes": None if proof is None else place.stat().st_size,
        "claims": []
        if proof is None
        else [{**claim.to_json(), "digest": hexed(claim.digest())} for claim in proof.claims],
        "output": None if proof is None else proof.public.get("output"),
        "opening": None if entry.opening is None else str(entry.opening),
        "prove_s": round(entry.prove_s, 3),
        "node": entry.node or None,
        "error": None if entry.error is None else details(entry.error),
        **({} if proof is None else describe(proof)),
    }


def _show(console: Console, value: dict[str, Any]) -> None:
    counts = ", ".join(f"{value[state]} {state}" for state in ("proved", "kept", "failed") if value[state])
    style = "red" if value["failed"] else "green"
    words = f"in {seconds(value['prove_s'])} by {value['backend']}, {value['executor']}: {counts}"
    headline(console, "failed" if value["failed"] else "proved", words, style)
    rows = table("input", "row", "proof", "claim")
    for item in value["proofs"]:
        if item["proof"] is None:
            add(rows, item["input"], str(item["row"]), "failed", item["error"]["message"], style="red")
        else:
            place = f"{item['proof']} ({size(item['bytes'])}{', kept' if item['state'] == 'kept' else ''})"
            add(rows, item["input"], str(item["row"]), place, item["claims"][0]["digest"])
    console.print(rows)
