"""Evidence on disk: one self-contained JSON file, or a folder of the parts as they come.

The file (``*.evidence.json``) is canonical JSON (RFC 8785), bytes in base64::

    {"collateral":{…}|null,"data":"base64","event_log":"base64"|null,"format":"vml-evidence/1","kind":"tdx"}

A folder has ``kind`` (one word) and ``evidence.bin``, and whatever of the other files of `LAYOUT` its kind has. Both
forms are bounded and strict. Neither says whom to trust nor for when. The specification is ``docs/tee-evidence.md``.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from vml import canonical, files
from vml.canonical import JSON
from vml.errors import BackendUnavailable
from vml.tee.evidence import (
    AzureCollateral,
    Collateral,
    DcapCollateral,
    Evidence,
    Kind,
    NvidiaCollateral,
    SnpCollateral,
)
from vml.tee.reasons import malformed

FORMAT = "vml-evidence/1"
SUFFIX = ".evidence.json"
MAX_BYTES = 24 << 20
"""Of a file, and of all files of a folder together."""
POLICY = "policy.yaml"
"""May lie in a folder beside the evidence it was written for. It is never read unless the verifier names it."""

KIND, DATA, EVENT_LOG, DCAP = "kind", "evidence.bin", "event_log", "collateral.json"
_SNP = {"vek": "vek.der", "chain": "chain.pem", "crl": "crl.der"}
_NVIDIA = {"chain": "chain.pem", "driver_rim": "driver_rim.xml", "vbios_rim": "vbios_rim.xml"}
LAYOUT: Mapping[Kind, frozenset[str]] = {
    Kind.SGX: frozenset({DCAP}),
    Kind.TDX: frozenset({DCAP, EVENT_LOG}),
    Kind.SNP: frozenset(_SNP.values()),
    Kind.NITRO: frozenset(),
    Kind.AZURE: frozenset({DCAP, *_SNP.values()}),
    Kind.NVIDIA: frozenset(_NVIDIA.values()),
}
"""What may stand in a folder of each kind besides ``kind``, ``evidence.bin`` and ``policy.yaml``."""

_CLASSES: Mapping[Kind, type[DcapCollateral] | type[SnpCollateral] | type[NvidiaCollateral]] = {
    Kind.SGX: DcapCollateral,
    Kind.TDX: DcapCollateral,
    Kind.SNP: SnpCollateral,
    Kind.NVIDIA: NvidiaCollateral,
}
_FIELDS = frozenset({"collateral", "data", "event_log", "format", "kind"})


def write_json(evidence: Evidence) -> bytes:
    """The self-contained file of some evidence."""
    item: dict[str, JSON] = {
        "format": FORMAT,
        "kind": str(evidence.kind),
        "data": _text(evidence.data),
        "collateral": None if evidence.collateral is None else _parts(evidence.collateral),
        "event_log": None if evidence.event_log is None else _text(evidence.event_log),
    }
    return canonical.encode(item)


def read_json(data: bytes) -> Evidence:
    """Evidence from a self-contained file. Nothing is verified.

    Raises:
        MalformedProof: anything but the canonical form.
    """
    try:
        item = canonical.decode(data, max_bytes=MAX_BYTES)
    except canonical.NotCanonical as error:
        raise malformed("evidence file", str(error)) from error
    if not isinstance(item, dict) or set(item) != _FIELDS or item["format"] != FORMAT:
        raise malformed("evidence file", f"not an object of {FORMAT}")
    if not isinstance(item["kind"], str) or item["kind"] not in set(Kind):
        raise malformed("evidence file", "an unknown kind")
    kind, log = Kind(item["kind"]), item["event_log"]
    collateral = None if item["collateral"] is None else _collateral(kind, item["collateral"])
    return Evidence(kind, _bytes(item["data"]), collateral, None if log is None else _bytes(log))


def write_folder(evidence: Evidence, path: str | os.PathLike[str], extra: Mapping[str, bytes] | None = None) -> None:
    """Write evidence as a folder, whole or not at all.

    Args:
        evidence: to be written.
        path: the folder, created or replaced.
        extra: further files; only `POLICY` is one that `read_folder` puts up with.

    Raises:
        ValueError: collateral that has no such form (text that is not UTF-8).
        OSError: it cannot be written.
    """
    named = {KIND: f"{evidence.kind}\n".encode(), DATA: evidence.data, **_collateral_files(evidence.collateral)}
    if evidence.event_log is not None:
        named[EVENT_LOG] = evidence.event_log
    with files.folder_atomic(path) as folder:
        for name, data in {**named, **(extra or {})}.items():
            (folder / name).write_bytes(data)


def read_folder(path: str | os.PathLike[str]) -> Evidence:
    """Evidence from a folder. Nothing is verified.

    Raises:
        MalformedProof: a file of a name that the kind does not have, or content that cannot be read.
        ValueError: a link, or files that are too large.
        OSError: ``kind`` or ``evidence.bin`` is missing, or something cannot be read.
    """
    held = _read_files(path)
    if KIND not in held or DATA not in held:
        raise FileNotFoundError(2, "no such file", str(Path(path) / (DATA if KIND in held else KIND)))
    word = held.pop(KIND).decode("ascii", "replace").strip()
    if word not in set(Kind):
        raise malformed("evidence folder", f"unknown kind {word[:20]!r}")
    kind = Kind(word)
    _check_names(kind, held.keys() - {DATA})
    return Evidence(kind, held[DATA], _from_files(kind, held), held.get(EVENT_LOG))


def read(path: str | os.PathLike[str]) -> Evidence:
    """Evidence from a folder or a self-contained file. Raises as `read_folder` and `read_json`."""
    return read_folder(path) if Path(path).is_dir() else read_json(read_bytes(path))


def read_raw(
    kind: Kind,
    path: str | os.PathLike[str],
    collateral: str | os.PathLike[str] | None = None,
    event_log: str | os.PathLike[str] | None = None,
) -> Evidence:
    """Evidence from files that hold just the quote, report or document, and what came with it.

    Args:
        kind: how to read it.
        path: the file.
        collateral: as for `read_collateral_of`.
        event_log: a file, of TDX.

    Raises:
        MalformedProof, ValueError, OSError: as `read_folder`.
    """
    held = None if collateral is None else read_collateral_of(kind, collateral)
    return Evidence(kind, read_bytes(path), held, None if event_log is None else read_bytes(event_log))


def read_collateral_of(kind: Kind, path: str | os.PathLike[str]) -> Collateral | None:
    """Collateral alone: the JSON of DCAP tools in one file, or a folder with the files of `LAYOUT`.

    Raises:
        MalformedProof, ValueError, OSError: as `read_folder`.
    """
    if not Path(path).is_dir():
        if DCAP not in LAYOUT[kind]:
            raise ValueError(f"collateral of {kind} is a folder, with {', '.join(sorted(LAYOUT[kind])) or 'nothing'}")
        return _from_files(kind, {DCAP: read_bytes(path)})
    held = _read_files(path)
    _check_names(kind, held.keys())
    return _from_files(kind, held)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """A whole file of at most `MAX_BYTES`.

    Raises:
        ValueError: it is larger.
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES} bytes")
    return data


def _read_files(path: str | os.PathLike[str]) -> dict[str, bytes]:
    """Every file of a folder but the policy."""
    held: dict[str, bytes] = {}
    for name in sorted(os.listdir(path)):
        if name != POLICY:
            left = MAX_BYTES - sum(map(len, held.values()))
            held[name] = files.read_inside(path, name, max_bytes=left)
    return held


def _check_names(kind: Kind, names: Iterable[str]) -> None:
    unknown = set(names) - LAYOUT[kind]
    if unknown:
        raise malformed("evidence folder", f"{kind} has no file {sorted(unknown)[0][:40]!r}")


def _from_files(kind: Kind, held: Mapping[str, bytes]) -> Collateral | None:
    """The collateral that files hold; None where they hold none."""
    if kind == Kind.AZURE:
        if DCAP in held and any(name in held for name in _SNP.values()):
            raise malformed("evidence folder", "collateral of two makers")
        inner = _from_files(Kind.TDX if DCAP in held else Kind.SNP, held)
        return AzureCollateral(inner) if isinstance(inner, DcapCollateral | SnpCollateral) else None
    if kind in (Kind.SGX, Kind.TDX):
        if DCAP not in held:
            return None
        return _dcap().read_collateral(held[DCAP])  # type: ignore[no-any-return]
    if kind == Kind.NITRO:
        return None
    names = _SNP if kind == Kind.SNP else _NVIDIA
    if not any(name in held for name in names.values()):
        return None
    parts = {field: held.get(name, b"") for field, name in names.items()}
    return SnpCollateral(**parts) if kind == Kind.SNP else NvidiaCollateral(**parts)


def _collateral_files(collateral: Collateral | None) -> dict[str, bytes]:
    if isinstance(collateral, AzureCollateral):
        collateral = collateral.hardware
    if collateral is None:
        return {}
    if isinstance(collateral, DcapCollateral):
        return {DCAP: _dcap().write_collateral(collateral)}
    names = _SNP if isinstance(collateral, SnpCollateral) else _NVIDIA
    return {name: data for field, name in names.items() if (data := getattr(collateral, field))}


def _dcap() -> Any:
    """The module of Intel's collateral, which needs the extra ``tee``."""
    try:
        from vml.tee.dcap import collateral
    except ImportError as error:
        raise BackendUnavailable(f"{error.name} is missing: pip install 'vml[tee]'") from error
    return collateral


def _parts(collateral: Collateral) -> dict[str, JSON]:
    if isinstance(collateral, AzureCollateral):
        return {"hardware": _parts(collateral.hardware)}
    return {field.name: _text(getattr(collateral, field.name)) for field in fields(collateral)}


def _collateral(kind: Kind, item: object) -> Collateral:
    if not isinstance(item, dict) or kind == Kind.NITRO:
        raise malformed("evidence file", "collateral of another form")
    if kind == Kind.AZURE:
        inner = item.get("hardware")
        if set(item) != {"hardware"} or not isinstance(inner, dict):
            raise malformed("evidence file", "collateral of another form")
        hardware = _collateral(Kind.SNP if "vek" in inner else Kind.TDX, inner)
        assert isinstance(hardware, DcapCollateral | SnpCollateral)
        return AzureCollateral(hardware)
    found = _CLASSES[kind]
    if set(item) != {field.name for field in fields(found)}:
        raise malformed("evidence file", "collateral of another form")
    return found(**{name: _bytes(value) for name, value in item.items()})


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: object) -> bytes:
    """The bytes of base64 in its one spelling."""
    if not isinstance(text, str):
        raise malformed("evidence file", "bytes that are no text")
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise malformed("evidence file", "bytes that are not base64") from error
    if _text(data) != text:
        raise malformed("evidence file", "base64 with bits that say nothing")
    return data
