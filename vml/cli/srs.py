"""`vml srs`: set-up files of KZG proofs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vml.cli.output import Debug, Json, Output, Quiet, add, command_app, table

app = command_app(
    "Set-up files: whoever knows the secret behind one can forge every proof made under it. "
    "Import one from a public ceremony; docs/srs.md says how to get it, step by step."
)

Sha256 = Annotated[
    str, typer.Option("--sha256", metavar="HEX", help="Digest of the file, as the ceremony published it.")
]


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The ceremony's file.")],
    sha256: Sha256,
    source: Annotated[str, typer.Option("--source", help="Where it came from, in your words.")] = "",
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Take a file in, after checking its digest and its points."""
    from vml.backends.ezkl import cache, srs

    record = srs.import_file(path, sha256, cache.folder(), source)
    _tell(Output(as_json, quiet), record)


@app.command()
def fetch(
    url: Annotated[str, typer.Argument(metavar="URL", help="https:// address of the file.")],
    sha256: Sha256,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Download a file and import it."""
    from vml.backends.ezkl import cache, srs

    record = srs.fetch(url, sha256, cache.folder())
    _tell(Output(as_json, quiet), record)


@app.command("list")
def list_(as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List what is here, test set-ups too."""
    from vml.backends.ezkl import cache, srs

    records = [vars(record) for record in srs.list_files(cache.folder())]
    Output(as_json, quiet).result({"setups": records}, lambda console: _show(console, records))


def _tell(out: Output, record: Any) -> None:
    value = vars(record)
    out.result(value, lambda console: _show(console, [value]))


def _show(console: Any, records: list[dict[str, Any]]) -> None:
    if not records:
        console.print("no set-up files yet; docs/srs.md says how to get one from a public ceremony")
        return
    rows = table("rows", "safe", "set-up", "source", "file")
    for record in records:
        safe = "no, test only" if record["unsafe"] else "yes"
        add(rows, f"2^{record['log_rows']}", safe, record["setup_id"], record["source"], record["path"])
    console.print(rows)
