"""RAM disks: the same bytes whatever the order, times and owners of the tar, and what an independent reader finds."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
from pathlib import Path

import pytest

from attestation.image.initrd import pack, write


def tar(path: Path, *, time: int = 0, user: int = 0) -> Path:
    entries: list[tuple[str, bytes, int, bytes | str]] = [
        ("./", tarfile.DIRTYPE, 0o755, b""),
        ("./bin", tarfile.DIRTYPE, 0o755, b""),
        ("./bin/tool", tarfile.REGTYPE, 0o4755, b"#!/bin/sh\n"),
        ("./bin/link", tarfile.SYMTYPE, 0o777, "tool"),
        ("./bin/same", tarfile.LNKTYPE, 0o755, "./bin/tool"),
        ("./dev/null", tarfile.CHRTYPE, 0o666, b""),
        ("./empty", tarfile.REGTYPE, 0o644, b""),
    ]
    with tarfile.open(path, "w") as archive:
        for name, kind, mode, content in entries:
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.mtime, member.uid = kind, mode, time, user
            if isinstance(content, str):
                member.linkname = content
            else:
                member.size = len(content)
            archive.addfile(member, None if isinstance(content, str) else io.BytesIO(content))
    return path


def read(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Name to mode and content, of a cpio archive of the form newc; every field that should be zero is."""
    found: dict[str, tuple[int, bytes]] = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * k : at + 14 + 8 * k], 16) for k in range(13)]
        inode, mode, user, group, _, time, size, *devices, length, checksum = fields
        assert not any((user, group, time, checksum, *devices))
        name = data[at + 110 : at + 110 + length - 1].decode()
        at += (110 + length + 3) // 4 * 4
        content = data[at : at + size]
        at += (size + 3) // 4 * 4
        if name == "TRAILER!!!":
            assert at == len(data)
            return found
        assert inode == len(found) + 1
        found[name] = (mode, content)


def test_what_is_in_it(tmp_path: Path) -> None:
    pack(tar(tmp_path / "a.tar"), tmp_path / "a.gz")
    found = read(gzip.decompress((tmp_path / "a.gz").read_bytes()))
    assert found == {
        "bin": (stat.S_IFDIR | 0o755, b""),
        "bin/link": (stat.S_IFLNK | 0o777, b"tool"),
        "bin/same": (stat.S_IFREG | 0o755, b"#!/bin/sh\n"),
        "bin/tool": (stat.S_IFREG | 0o4755, b"#!/bin/sh\n"),
        "empty": (stat.S_IFREG | 0o644, b""),
    }
    assert list(found) == sorted(found)


def test_times_owners_and_the_name_of_the_file_do_not_count(tmp_path: Path) -> None:
    one = pack(tar(tmp_path / "a.tar"), tmp_path / "a.gz")
    assert pack(tar(tmp_path / "b.tar", time=1_700_000_000, user=1000), tmp_path / "b.gz") == one
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_order_does_not_count(tmp_path: Path) -> None:
    def plain(name: str, names: list[str]) -> str:
        with tarfile.open(tmp_path / name, "w") as archive:
            for entry in names:
                member = tarfile.TarInfo(entry)
                member.size = len(entry)
                archive.addfile(member, io.BytesIO(entry.encode()))
        return pack(tmp_path / name, tmp_path / f"{name}.gz")

    assert plain("a", ["x", "y", "z"]) == plain("b", ["z", "x", "y"]) != plain("c", ["x", "y"])


@pytest.mark.parametrize("name", ["../out", "a/../../out"])
def test_names_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    with tarfile.open(tmp_path / "a.tar") as archive, pytest.raises(ValueError, match="outside"):
        write(archive, io.BytesIO())
