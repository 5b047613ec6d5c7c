"""Files: nothing half-written is ever read, and no path trick leads outside a folder."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = ".vml-tmp-"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_atomic(path: str | os.PathLike[str], data: bytes, *, mode: int = 0o666) -> None:
    """Write a file so that others see all of it or nothing, also after a crash or a full disk.

    Args:
        path: the file to create or replace; its folder must exist.
        data: the whole content.
        mode: permissions of a new file, before the process's mask.

    Raises:
        OSError: it cannot be written; what stood there before is untouched and nothing is left behind.
    """
    target = Path(path)
    temporary = target.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(target.parent)
    except OSError as error:
        raise _explained(error, target, len(data)) from error


def require_writable(path: str | os.PathLike[str]) -> None:
    """Check, before long work, that a file can be written where its result will go.

    Raises:
        IsADirectoryError: a folder stands there.
        FileNotFoundError, NotADirectoryError: the folder it would lie in does not exist.
        PermissionError: that folder cannot be written.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, a file is to be written", str(target))
    if not target.parent.exists():
        raise FileNotFoundError(errno.ENOENT, "no such folder to write into", str(target.parent))
    if not target.parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is not a folder to write into", str(target.parent))
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "cannot write into the folder", str(target.parent))


@contextmanager
def folder_atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Fill a folder that appears under its name only when it is complete.

    Args:
        path: the folder to create or replace; its parent must exist.

    Returns:
        A context manager giving an empty folder to write into. If the block raises, the folder vanishes and
        what stood at `path` before is untouched.

    Raises:
        NotADirectoryError: `path` exists and is not a folder.
        OSError: it cannot be written; nothing is left behind.
    """
    target = Path(path)
    if os.path.lexists(target) and not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "exists and is not a folder", str(target))
    # A link to a folder is followed: what is replaced is the folder, not the link.
    target = target.resolve()
    temporary = target.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")
    try:
        temporary.mkdir()
    except OSError as error:
        raise _explained(error, target, None) from error
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _sync_file(file)
        _sync_folder(temporary)
        _swap(temporary, target)
        _sync_folder(target.parent)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            raise _explained(error, target, None) from error
        raise


def open_inside(folder: str | os.PathLike[str], name: str) -> BinaryIO:
    """Open a regular file below a folder for reading; no part of `name` may lead elsewhere.

    Args:
        folder: the folder; it may itself be reached through links, its owner chose it.
        name: relative path with "/" between parts.

    Returns:
        The file, opened for reading.

    Raises:
        ValueError: `name` is absolute, holds "..", "." or NUL, passes through a symbolic link, or is no
            regular file.
        OSError: it does not exist or cannot be read.
    """
    parts = name.split("/")
    if not name or "\0" in name or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{name!r} is not a plain path inside {os.fspath(folder)}")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for depth, part in enumerate(parts):
            last = depth == len(parts) - 1
            # O_NONBLOCK: opening a FIFO must not wait for a writer.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_NONBLOCK if last else os.O_DIRECTORY)
            if stat.S_ISLNK(os.stat(part, dir_fd=descriptor, follow_symlinks=False).st_mode):
                raise ValueError(f"{name!r} in {os.fspath(folder)} passes through a symbolic link")
            below = os.open(part, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"{name!r} in {os.fspath(folder)} is not a regular file")
        return os.fdopen(descriptor, "rb")
    except FileNotFoundError as error:
        os.close(descriptor)
        raise FileNotFoundError(error.errno, "no such file", str(Path(folder) / name)) from None
    except BaseException:
        os.close(descriptor)
        raise


def read_inside(folder: str | os.PathLike[str], name: str, *, max_bytes: int) -> bytes:
    """Read a whole file below a folder.

    Args:
        folder, name: as for `open_inside`.
        max_bytes: bound on the file's size, in bytes.

    Returns:
        The content.

    Raises:
        ValueError: as for `open_inside`, or the file is larger.
        OSError: it does not exist or cannot be read.
    """
    with open_inside(folder, name) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"{name!r} in {os.fspath(folder)} is larger than {max_bytes} bytes")
    return data


def _swap(temporary: Path, target: Path) -> None:
    """Put a complete folder in the target's place; a folder that stood there is removed afterwards."""
    if not target.exists():
        temporary.rename(target)
        return
    old = target.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")
    target.rename(old)
    try:
        temporary.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)


def _explained(error: OSError, target: Path, size: int | None) -> OSError:
    """The same error, saying which file was being written, how large it was, and what is left behind."""
    need = f" ({size} bytes)" if size is not None else ""
    reason = "the disk is full" if error.errno in _DISK_FULL else error.strerror or str(error)
    text = f"cannot write {target}{need}: {reason}; nothing was left behind"
    return type(error)(error.errno, text) if error.errno is not None else OSError(text)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
