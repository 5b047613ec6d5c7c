"""What a verifier remembers of revocation lists: the last number of each, so that no older list is accepted later.

A file of canonical JSON: ``{"format": "vml-revocation-memory/1", "lists": {"<authority> <issuer>": number}}``, an
authority of several roots once for each. A file beside it, its name with ``.lock`` behind, is held while it is written.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from vml import canonical, files
from vml.certificates.verify import VerifiedCertificate, list_names

FORMAT = "vml-revocation-memory/1"
MAX_BYTES = 1 << 20


def recall(path: str | os.PathLike[str]) -> dict[str, int]:
    """The numbers by `list_names`; none where there is no file yet.

    Raises:
        ValueError: the file is damaged: nobody is forgotten silently.
        OSError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            value = canonical.decode(file.read(MAX_BYTES + 1), max_bytes=MAX_BYTES)
        if value["format"] != FORMAT or set(value) != {"format", "lists"}:
            raise ValueError("another format")
        lists: dict[str, int] = value["lists"]
        if not isinstance(lists, dict) or any(type(number) is not int for number in lists.values()):
            raise ValueError("no list of numbers")
    except FileNotFoundError:
        return {}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)} is no memory of revocation lists: {error}") from error
    return lists


def remember(path: str | os.PathLike[str], verified: Sequence[VerifiedCertificate]) -> None:
    """Note the lists that certificates were checked against; numbers only rise.

    Raises:
        ValueError, OSError: as `recall`, or it cannot be written.
    """
    target = Path(path)
    with target.with_name(target.name + ".lock").open("a") as lock:  # two at once lose nothing
        fcntl.flock(lock, fcntl.LOCK_EX)
        lists = recall(target)
        for each in verified:
            if each.revocations is not None:
                for name in list_names(each.authority, each.statement.issuer):
                    lists[name] = max(lists.get(name, 0), each.revocations)
        files.write_atomic(target, canonical.encode({"format": FORMAT, "lists": lists}))
