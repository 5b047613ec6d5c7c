"""What vml keeps between calls: keys and set-up files, each in one folder or file."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from vml.api.keys import OPENINGS

SETUPS = "srs"


@dataclass(frozen=True)
class CacheEntry:
    """One cached thing.

    Args:
        kind: the backend whose keys these are, or "set-up".
        path: file or folder.
        size_bytes: on disk.
        openings: number of openings of hidden inputs inside.
    """

    kind: str
    path: Path
    size_bytes: int
    openings: int


def cache_folder() -> Path:
    """Where vml keeps things: ``VML_CACHE_DIR``, or the user's cache folder.

    Raises:
        BackendUnavailable: neither is known, because platformdirs is not installed.
    """
    from vml import cache

    return cache.folder()


def cache_entries() -> tuple[CacheEntry, ...]:
    """Everything that is kept, by kind and name."""
    root = cache_folder()
    if not root.is_dir():
        return ()
    found = []
    for kind in sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink()):
        name = "set-up" if kind.name == SETUPS else kind.name
        for path in sorted(kind.iterdir()):
            if path.name.startswith(".") or path.is_symlink():
                continue
            held = path / OPENINGS
            count = len(list(held.iterdir())) if path.is_dir() and held.is_dir() else 0
            found.append(CacheEntry(name, path, _size(path), count))
    return tuple(found)


def clear_cache(*, setups: bool = False, openings: bool = False) -> tuple[list[CacheEntry], list[CacheEntry]]:
    """Remove cached keys.

    Args:
        setups: remove set-up files, too.
        openings: remove keys that hold openings, too; what they hide can never be opened again.

    Returns:
        What was removed, and what was kept.

    Raises:
        OSError: something cannot be removed.
    """
    removed, kept = [], []
    for entry in cache_entries():
        if (entry.kind == "set-up" and not setups) or (entry.openings and not openings):
            kept.append(entry)
            continue
        if entry.path.is_dir():
            # Renamed first: a reader never finds a key that is half gone.
            doomed = entry.path.with_name(f".removed-{os.getpid()}-{entry.path.name}")
            entry.path.rename(doomed)
            shutil.rmtree(doomed)
        else:
            entry.path.unlink()
        removed.append(entry)
    return removed, kept


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
