"""The log's key, and its checkpoints: signed when somebody asks and the log grew, at most once a second for all.

The key is Ed25519, in the text of C2SP's signed notes: ``PRIVATE+KEY+NAME+id+…``; its name is the log's. It is given by
a file or the environment, or made in the data folder. Whoever has it can sign a log that never was, so that a server
whose key was lost begins a new log.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from secrets import token_hex

from vml import files
from vml.serve import log
from vml.serve.store import Store
from vml.transparency.checkpoint import Checkpoint
from vml.transparency.note import NoteSigner

KEY_FILE, KEY_VARIABLE = "log-key", "VML_LOG_KEY"
MAX_KEY_BYTES = 4096
PAUSE_S = 1.0


def load_log_key(
    folder: Path, file: Path | None = None, name: str | None = None, environment: Mapping[str, str] = os.environ
) -> NoteSigner:
    """The log's key: from a file, from the environment, or the data folder's own, made when there is none.

    Args:
        folder: the data folder.
        file: the key's text; None looks further.
        name: of the log, such as ``example.com/log``; None takes what the key says, or a new random one.
        environment: ``VML_LOG_KEY`` may hold the same text.

    Raises:
        ValueError: no such key, one of another name, or a file that others can read.
        OSError: it cannot be read or written.
    """
    if file is None and KEY_VARIABLE in environment:
        return _named(NoteSigner.parse(environment[KEY_VARIABLE].strip()), name)
    path = folder / KEY_FILE if file is None else file
    if file is None and not path.exists():
        made = NoteSigner.generate(name or f"vml-log-{token_hex(8)}")
        files.write_atomic(path, f"{made.private_text()}\n".encode(), mode=0o600)
        return made
    with path.open("rb") as handle:
        if os.fstat(handle.fileno()).st_mode & 0o077:
            raise ValueError(f"{path}: others can read this key; chmod 600 it")
        text = handle.read(MAX_KEY_BYTES).decode("utf-8", "replace").strip()
    return _named(NoteSigner.parse(text), name)


def _named(signer: NoteSigner, name: str | None) -> NoteSigner:
    if name is not None and signer.name != name:
        raise ValueError(f"the log's key is named {signer.name!r}, not {name!r}: a log keeps its name")
    return signer


class Checkpoints:
    """Signs checkpoints of one store.

    Args:
        store: whose log.
        signer: the log's key.
        clock: unix seconds.
    """

    def __init__(self, store: Store, signer: NoteSigner, *, clock: Callable[[], float] = time.time) -> None:
        self.key = signer.verifier
        self._store, self._signer, self._clock = store, signer, clock
        self._lock = asyncio.Lock()
        self._note, self._size, self._after = b"", -1, 0.0

    async def latest(self, size: int = 0) -> tuple[bytes, int]:
        """A signed note that covers at least so many entries, and its size; not older than a second where the log grew.

        Raises:
            LogRejected: the database no longer fits the last checkpoint that was signed.
            StoreUnavailable: it does not answer.
        """
        async with self._lock:
            if self._size < size:
                await asyncio.sleep(max(0.0, self._after - time.monotonic()))
            if time.monotonic() >= self._after:
                self._note, self._size = await asyncio.to_thread(self._sign)
                self._after = time.monotonic() + PAUSE_S
            return self._note, self._size

    def _sign(self) -> tuple[bytes, int]:
        with self._store.reading() as connection:
            if log.size(connection) == self._size:
                return self._note, self._size
        with self._store.writing() as connection:
            note = log.checkpoint(connection, self._signer, self._clock())
        return note, Checkpoint.parse(note.decode().rpartition("\n\n")[0] + "\n").size
