"""What checking evidence loads: no arrays, no models, and nothing of the extra before a piece of evidence is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def loaded_by(statement: str) -> set[str]:
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_the_package_loads_no_extra() -> None:
    assert not loaded_by("import vml.tee") & {"numpy", "pydantic", "cryptography", "cbor2", "lxml", "signxml"}


@pytest.mark.parametrize("module", ["vml.tee.dcap.verify"])
def test_verifiers_load_no_arrays(module: str) -> None:
    assert not loaded_by(f"import {module}") & {"numpy", "pydantic", "dcap_qvl", "lxml", "numba", "onnx"}


def test_without_the_extra_it_is_named() -> None:
    code = """
from vml.errors import BackendUnavailable
from vml.tee import Evidence, Kind, TrustAnchors, verify_evidence
import vml.tee.verify
vml.tee.verify.find_spec = lambda name: None
try:
    verify_evidence(Evidence(Kind.TDX, b""), TrustAnchors.vendors(), 0)
except BackendUnavailable as error:
    assert "vml[tee]" in str(error)
else:
    raise AssertionError("no extra and no word of it")
"""
    loaded_by(code)
