"""`vml srs`: set-up files of KZG proofs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vml.cli.output import Debug, Json, Output, Quiet, add, command_app, table

app = command_app("""Set-up files of KZG proofs, from public ceremonies.

Whoever knows the secret behind a set-up can forge every proof made under it. A ceremony's secret is known to nobody,
if one participant was honest; the built-in test set-up's secret is published.

To get a real one: (1) After a first `vml setup MODEL`, `vml srs list` shows how many rows, 2^k, it took. (2) Find the
ceremony's file for that k or a larger one, in Halo2's raw form; docs/ezkl.md names sources. (3) Find its SHA-256 from
another source than the file itself. (4) `vml srs fetch URL --sha256 HEX`, or download it and `vml srs import FILE
--sha256 HEX`. (5) `vml srs list` shows its set-up id; pin that in your policy (`setups: [0x...]`). (6) Run `vml setup`
again: imported set-ups are used from then on, the test one never again.
""")

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
    from vml import cache
    from vml.backends.ezkl import srs

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
    from vml import cache
    from vml.backends.ezkl import srs

    record = srs.fetch(url, sha256, cache.folder())
    _tell(Output(as_json, quiet), record)


@app.command("list")
def list_(as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List what is here, test set-ups too."""
    from vml import cache
    from vml.backends.ezkl import srs

    records = [vars(record) for record in srs.list_files(cache.folder())]
    Output(as_json, quiet).result({"setups": records}, lambda console: _show(console, records))


def _tell(out: Output, record: Any) -> None:
    value = vars(record)
    out.result(value, lambda console: _show(console, [value]))


def _show(console: Any, records: list[dict[str, Any]]) -> None:
    if not records:
        console.print("no set-up files yet; `vml srs --help` says how to get one from a public ceremony")
        return
    rows = table("rows", "safe", "set-up", "source", "file")
    for record in records:
        safe = "no, test only" if record["unsafe"] else "yes"
        add(rows, f"2^{record['log_rows']}", safe, record["setup_id"], record["source"], record["path"])
    console.print(rows)
