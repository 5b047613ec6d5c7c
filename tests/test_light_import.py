"""What loading vml loads, seen in fresh processes; and that the base install verifies without the extras."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXTRAS = (
    "eth_abi",
    "eth_account",
    "ezkl",
    "filelock",
    "hexbytes",
    "numba",
    "onnx",
    "onnxruntime",
    "onnxslim",
    "platformdirs",
    "psutil",
    "pyrevm",
    "safetensors",
    "scipy",
    "threadpoolctl",
    "torch",
    "web3",
)

WITHOUT_EXTRAS = f"""
import sys
for name in {EXTRAS!r}:
    sys.modules[name] = None  # importing it now raises ImportError
"""


def run(code: str) -> str:
    """Standard output of a fresh interpreter, started in the checkout."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(statement: str) -> set[str]:
    names = json.loads(run(f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"))
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("statement", ["import vml", "import vml.cli"])
def test_importing_costs_nothing(statement: str) -> None:
    assert not loaded_by(statement) & {*EXTRAS, "numpy", "pydantic"}


@pytest.mark.parametrize("name", ["Claim", "Proof", "Policy", "verify", "prove", "compile"])
def test_public_names_load_no_extra(name: str) -> None:
    assert not loaded_by(f"import vml; vml.{name}") & set(EXTRAS)


def test_commitments_are_the_same_without_numba() -> None:
    code = """
import numpy as np
from vml import merkle
array = np.arange(merkle.BULK_BYTES // 2 + 5, dtype=np.int16)
print(merkle.tensor_root(array).hex(), "vml.kernels_keccak" in sys.modules)
"""
    without = run(WITHOUT_EXTRAS + code).split()
    with_numba = run("import sys\n" + code).split()
    assert without[0] == with_numba[0]
    assert (without[1], with_numba[1]) == ("False", "True")
