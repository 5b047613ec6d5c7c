"""`vml cache`: what vml keeps between calls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vml.cli.output import Debug, Json, Output, Quiet, add, command_app, size, table

app = command_app("Keys and set-up files that vml keeps (in VML_CACHE_DIR, or the user's cache folder).")


@app.command("list")
def list_(as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List what is kept."""
    from vml import api

    folder, entries = api.cache_folder(), api.cache_entries()
    value = {
        "folder": str(folder),
        "bytes": sum(entry.size_bytes for entry in entries),
        "entries": [_entry(entry) for entry in entries],
    }
    Output(as_json, quiet).result(value, lambda console: _show(console, value))


@app.command()
def clear(
    setups: Annotated[
        bool, typer.Option("--setups", help="Set-up files too; imported ones must be fetched again.")
    ] = False,
    openings: Annotated[
        bool, typer.Option("--openings", help="Keys that hold openings too: hidden inputs can never be opened again.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Remove cached keys; they are made again when they are needed."""
    from vml import api

    out = Output(as_json, quiet)
    removed, kept = api.clear_cache(setups=setups, openings=openings)
    freed = sum(entry.size_bytes for entry in removed)
    value = {
        "removed": [_entry(entry) for entry in removed],
        "kept": [_entry(entry) for entry in kept],
        "freed_bytes": freed,
    }
    if any(entry.openings for entry in kept):
        out.note("kept keys that hold openings of hidden inputs; --openings removes them for good")
    out.result(value, lambda console: console.print(f"removed {len(removed)}, freed {size(freed)}"))


def _entry(entry: Any) -> dict[str, Any]:
    return {"kind": entry.kind, "path": str(entry.path), "bytes": entry.size_bytes, "openings": entry.openings}


def _show(console: Any, value: dict[str, Any]) -> None:
    console.print(f"{value['folder']}: {size(value['bytes'])}")
    rows = table("kind", "name", "size", "openings")
    for entry in value["entries"]:
        add(rows, entry["kind"], Path(entry["path"]).name, size(entry["bytes"]), str(entry["openings"] or ""))
    if value["entries"]:
        console.print(rows)
