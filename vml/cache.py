"""Where keys and set-ups are kept: one folder a user, one lock a name, nothing half-written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vml.errors import BackendUnavailable

LOCK_TIMEOUT_S = 3600.0
"""Another process may be making the same key; that takes minutes, not hours."""


def folder(override: Path | None = None) -> Path:
    """vml's cache folder: the override, else ``VML_CACHE_DIR``, else the user's cache folder.

    Raises:
        BackendUnavailable: platformdirs is not installed.
    """
    if override is not None:
        return override
    if chosen := os.environ.get("VML_CACHE_DIR"):
        return Path(chosen)
    try:
        from platformdirs import user_cache_path
    except ImportError as error:
        raise BackendUnavailable("platformdirs is missing: pip install 'vml[compile]'") from error
    return user_cache_path("vml")


@contextmanager
def lock(parent: str | os.PathLike[str], name: str) -> Iterator[None]:
    """Hold a name for this process alone.

    Args:
        parent: folder of the thing that is locked; made when missing.
        name: of the thing inside it.

    Raises:
        BackendUnavailable: filelock is not installed.
        TimeoutError: another process held it for an hour.
    """
    try:
        import filelock
    except ImportError as error:
        raise BackendUnavailable("filelock is missing: pip install 'vml[compile]'") from error
    place = Path(parent)
    place.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(place / f".{name}.lock", timeout=LOCK_TIMEOUT_S):
        yield
