"""An initial RAM disk made of a container's files, the same bytes every time.

    python attestation/image/initrd.py root.tar -o initrd.cpio.gz

Reads a tar of a root file system (``docker build --output type=tar``) and writes a cpio archive of the form "newc",
which is what a kernel unpacks. Names are in order; times are zero; owners are root; device files are left out, for the
kernel makes its own. The digest of the result is printed: where the kernel is booted directly, it is what gets
measured (RTMR 2 of TDX; the launch measurement of SEV-SNP with kernel hashes).

Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst. Python's library alone is needed.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import stat
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

MAGIC = b"070701"
END = "TRAILER!!!"
KINDS = {tarfile.DIRTYPE: stat.S_IFDIR, tarfile.SYMTYPE: stat.S_IFLNK}


class Sink(Protocol):
    """What takes bytes."""

    def write(self, data: bytes, /) -> object: ...


def write(archive: tarfile.TarFile, out: Sink) -> int:
    """Write the archive's files as cpio; returns their number.

    Hard links become files of their own. A name that stands twice means its last entry, as when unpacking.

    Raises:
        ValueError: a name that leads outside.
    """
    members: dict[str, tarfile.TarInfo] = {}
    for member in archive:
        name = member.name.removeprefix("./").strip("/")
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"{member.name!r} leads outside")
        if name and name != "." and (member.isfile() or member.islnk() or member.type in KINDS):
            members[name] = member
    for inode, name in enumerate(sorted(members), 1):
        member = members[name]
        kind = KINDS.get(member.type, stat.S_IFREG)
        for part in _entry(name, inode, kind | stat.S_IMODE(member.mode), _content(archive, member)):
            out.write(part)
    for part in _entry(END, 0, 0, b""):
        out.write(part)
    return len(members)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.issym():
        return member.linkname.encode()
    file = archive.extractfile(member)  # follows hard links; None of folders
    return b"" if file is None else file.read()


def _entry(name: str, inode: int, mode: int, data: bytes) -> Iterator[bytes]:
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    # inode, mode, user, group, links, time, size, device (4 numbers), length of the name, checksum
    fields = (inode, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = MAGIC + b"".join(b"%08x" % field for field in fields) + encoded
    yield head + bytes(-len(head) % 4)
    yield data + bytes(-len(data) % 4)


def pack(source: Path, target: Path) -> str:
    """Make the RAM disk; returns its SHA-256 in hex."""
    with tarfile.open(source) as archive, target.open("wb") as file:
        # No name and no time in the head of the compressed file.
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=9)
        with packed:
            write(archive, packed)
    return hashlib.sha256(target.read_bytes()).hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("root", type=Path, help="tar of a root file system")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    try:
        print(f"sha256 {pack(options.root, options.output)}")
    except (OSError, ValueError, tarfile.TarError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
