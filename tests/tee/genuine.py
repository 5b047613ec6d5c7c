"""Genuine public evidence for tests: the folder named by VML_VECTORS, outside the project.

A test file that needs it calls `require()` before anything else.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from vml.tee import DcapCollateral, Evidence, Kind, TrustAnchors
from vml.tee.dcap.collateral import read_collateral

REASON = "VML_VECTORS names no folder of genuine evidence"
VENDORS = TrustAnchors.vendors()


def folder() -> Path | None:
    """Where the evidence is, or None."""
    named = os.environ.get("VML_VECTORS")
    path = Path(named) / "tee" if named else None
    return path if path is not None and (path / "MANIFEST.json").is_file() else None


def require() -> None:
    """Skip the whole file where there is no such folder."""
    if folder() is None:
        pytest.skip(REASON, allow_module_level=True)


@cache
def read(path: str) -> bytes:
    """A file of the folder."""
    root = folder()
    assert root is not None, REASON
    return (root / path).read_bytes()


def vectors(*kinds: str) -> list[dict[str, Any]]:
    """The manifest's entries of these kinds; all without any."""
    return [item for item in json.loads(read("MANIFEST.json"))["vectors"] if not kinds or item["kind"] in kinds]


def vector(name: str) -> dict[str, Any]:
    """The manifest's entry of this id."""
    return next(item for item in vectors() if item["id"] == name)


def negatives(*kinds: str) -> list[dict[str, Any]]:
    """The corruption cases whose base is of these kinds."""
    bases = {item["id"] for item in vectors(*kinds)}
    return [row for row in json.loads(read("NEGATIVE.json")) if row["base"] in bases]


def dcap_collateral(item: dict[str, Any]) -> DcapCollateral:
    return read_collateral(read(item["collateral"]))


def dcap_evidence(item: dict[str, Any]) -> Evidence:
    """An SGX or TDX vector as evidence, with its collateral."""
    return Evidence(Kind(item["kind"]), read(item["files"][0]["path"]), dcap_collateral(item))


def time_of(item: dict[str, Any]) -> int:
    return int(item["verify_at"]["unix"])
