"""What checking evidence loads: no arrays, no models, and nothing of the extra before a piece of evidence is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vml.tee import files
from vml.tee_sim import anchors as sim_anchors
from vml.tee_sim import matching_policy, simulate

ROOT = Path(__file__).parents[2]


def loaded_by(statement: str) -> set[str]:
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_the_package_loads_no_extra() -> None:
    assert not loaded_by("import vml.tee") & {"numpy", "pydantic", "cryptography", "cbor2", "lxml", "signxml"}


ARRAYS = {"numpy", "numba", "onnx", "onnxruntime", "scipy"}
MANIFESTS = {"lxml", "signxml"}
OTHERS = {"dcap_qvl", "requests", "aiohttp", "asyncio"}
VERIFIERS = ("dcap", "snp", "nitro", "azure", "nvidia")


@pytest.mark.parametrize("module", [f"vml.tee.{kind}.verify" for kind in VERIFIERS])
def test_verifiers_load_no_arrays(module: str) -> None:
    assert not loaded_by(f"import {module}") & {"pydantic", *ARRAYS, *MANIFESTS, *OTHERS}


@pytest.mark.parametrize(
    "module", ["vml.tee.appraise", "vml.tee.files", "vml.tee.binding", "vml.tee.gpus", "vml.backends.tee.verifier"]
)
def test_what_judges_loads_no_arrays(module: str) -> None:
    assert not loaded_by(f"import {module}") & {"cryptography", "cbor2", *ARRAYS, *MANIFESTS, *OTHERS}


@pytest.mark.parametrize("kind", ["sgx", "tdx", "snp", "nitro"])
def test_neither_does_checking_evidence(kind: str, tmp_path: Path) -> None:
    """From a file to a result, policy included."""
    evidence = simulate(kind, report_data=bytes(64), seed="import", at=1_800_000_000)
    (tmp_path / "it.evidence.json").write_bytes(files.write_json(evidence))
    (tmp_path / "policy.json").write_bytes(matching_policy(kind).canonical())
    roots = [(str(root.family), root.certificate.hex(), root.public_key.hex()) for root in sim_anchors("import").roots]
    loaded = loaded_by(f"""
from pathlib import Path
from vml.tee import TrustAnchors, verify_evidence
from vml.tee.anchors import Family, Root
from vml.tee.appraisal import AppraisalPolicy
from vml.tee.appraise import appraise
from vml.tee.files import read
roots = [Root(Family(f), bytes.fromhex(c), bytes.fromhex(k), simulated=True) for f, c, k in {roots!r}]
claims = verify_evidence(read(Path({str(tmp_path / "it.evidence.json")!r})), TrustAnchors(roots), 1_800_000_000)
policy = AppraisalPolicy.load({str(tmp_path / "policy.json")!r})
assert appraise(claims, policy, 1_800_000_000, bytes(32)).simulated
""")
    assert "cryptography" in loaded
    assert not loaded & {*ARRAYS, *MANIFESTS, *OTHERS}


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
