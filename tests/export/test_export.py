"""`vml export`: a module becomes an ONNX file that answers as it does, or a typed error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vml.errors import UnsupportedModel

onnx = pytest.importorskip("onnx", reason="the compile extra is not installed")

CIRCUITS = Path(__file__).parents[2] / "circuits"
pytestmark = pytest.mark.torch


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is installed by `make test-torch` only")


def script(folder: Path, body: str) -> str:
    path = folder / "script.py"
    path.write_text("import torch\nfrom torch import nn\n" + body)
    return str(path)


def test_factory_becomes_a_file_that_answers_alike(torch: Any, tmp_path: Path) -> None:
    import onnxruntime

    from vml.model.export import export_factory

    source = script(
        tmp_path,
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    layers = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten(), nn.Linear(72, 3)\n"
        "    net = nn.Sequential(*layers)\n"
        "    return net, torch.rand(1, 1, 8, 8), {'input_names': ['image'], 'output_names': ['scores']}\n",
    )
    output = tmp_path / "deep" / "model.onnx"
    exported = export_factory(source, "make", output)
    assert output.read_bytes() == exported.onnx
    assert exported.inputs == {"image": (1, 1, 8, 8)}
    assert exported.outputs == ("scores",)
    assert exported.max_difference < 1e-4
    model = onnx.load(output)
    assert {node.op_type for node in model.graph.node} <= {"Conv", "BatchNormalization", "Flatten", "Gemm"}
    session = onnxruntime.InferenceSession(output)
    assert session.run(None, {"image": torch.zeros(1, 1, 8, 8).numpy()})[0].shape == (1, 3)


def test_export_is_the_same_twice(torch: Any) -> None:
    from vml.model.export import export_module

    module = torch.nn.Linear(3, 2)
    assert export_module(module, torch.ones(1, 3)).onnx == export_module(module, torch.ones(1, 3)).onnx


def test_training_mode_is_given_back(torch: Any) -> None:
    from vml.model.export import export_module

    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout(0.5))
    export_module(module, torch.ones(1, 3))
    assert module.training


def test_several_inputs_and_outputs_are_named(torch: Any) -> None:
    from vml.model.export import export_module

    class Two(torch.nn.Module):
        def forward(self, a: Any, b: Any) -> Any:
            return a + b, a * b

    exported = export_module(Two(), {"left": torch.ones(1, 2), "right": torch.full((1, 2), 3.0)})
    assert exported.inputs == {"left": (1, 2), "right": (1, 2)}
    assert exported.outputs == ("output_0", "output_1")
    assert tuple(export_module(Two(), (torch.ones(1, 2), torch.ones(1, 2))).inputs) == ("input_0", "input_1")


def test_control_flow_on_values_is_refused(torch: Any) -> None:
    from vml.model.export import export_module

    class Branch(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x if bool(x.sum() > 0) else -5 * x

    with pytest.raises(UnsupportedModel, match="control flow"):
        export_module(Branch(), torch.full((1, 4), 0.1))


def test_unused_input_is_refused(torch: Any) -> None:
    from vml.model.export import export_module

    class Ignores(torch.nn.Module):
        def forward(self, a: Any, b: Any) -> Any:
            return a * 2

    with pytest.raises(UnsupportedModel, match="input_1"):
        export_module(Ignores(), (torch.ones(1, 2), torch.ones(1, 2)))


def test_unexportable_module_names_the_reason(torch: Any) -> None:
    from vml.model.export import export_module

    class Fft(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.linalg.eigvalsh(x)

    with pytest.raises(UnsupportedModel, match="cannot export"):
        export_module(Fft(), torch.eye(3)[None])


def test_module_that_fails_on_its_example_is_the_callers_mistake(torch: Any) -> None:
    from vml.model.export import export_module

    with pytest.raises(ValueError, match="does not run on the example"):
        export_module(torch.nn.Linear(3, 2), torch.ones(1, 4))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("other = 1\n", "no callable 'make'"),
        ("make = 3\n", "no callable 'make'"),
        ("def make():\n    return nn.Linear(1, 1)\n", "must return"),
        ("def make():\n    return 7, torch.ones(1)\n", "Module"),
        ("def make():\n    return nn.Linear(1, 1), [1.0]\n", "example_inputs"),
        ("def make():\n    return nn.Linear(1, 1), ()\n", "example_inputs"),
        ("def make():\n    return nn.Linear(1, 1), torch.ones(1, 1), {'opsett': 17}\n", "options"),
        ("def make():\n    return nn.Linear(1, 1), torch.ones(1, 1), {'input_names': ['a', 'b']}\n", "names"),
        ("def make():\n    raise KeyError('gone')\n", "KeyError"),
        ("raise RuntimeError('broken script')\n", "broken script"),
    ],
)
def test_a_wrong_script_is_the_callers_mistake(torch: Any, tmp_path: Path, body: str, message: str) -> None:
    from vml.model.export import export_factory

    before = list(sys.path)
    with pytest.raises(ValueError, match=message):
        export_factory(script(tmp_path, body), "make", tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
    assert sys.path == before


def test_missing_script_is_the_callers_mistake(torch: Any, tmp_path: Path) -> None:
    from vml.model.export import export_factory

    with pytest.raises(ValueError, match="is not a file"):
        export_factory(str(tmp_path / "none.py"), "make", tmp_path / "model.onnx")


def test_script_may_import_its_neighbours(torch: Any, tmp_path: Path) -> None:
    from vml.model.export import export_factory

    (tmp_path / "neighbour_layers.py").write_text("WIDTH = 5\n")
    source = script(
        tmp_path,
        "from neighbour_layers import WIDTH\ndef make():\n    return nn.Linear(WIDTH, 2), torch.ones(1, WIDTH)\n",
    )
    assert export_factory(source, "make", tmp_path / "model.onnx").inputs == {"input": (1, 5)}


def test_shipped_transformer_exports_from_the_command_line(torch: Any, tmp_path: Path) -> None:
    output = tmp_path / "model.onnx"
    command = [sys.executable, "-c", "import sys; from vml.cli import main; sys.exit(main())", "export"]
    command += [f"{CIRCUITS / 'digits-transformer' / 'build.py'}:untrained", "-o", str(output)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    built, committed = onnx.load(output), onnx.load(CIRCUITS / "digits-transformer" / "model.onnx")
    # Parameters that are equal before training are stored once and read through Identity.
    operators = [
        [node.op_type for node in model.graph.node if node.op_type != "Identity"] for model in (built, committed)
    ]
    assert operators[0] == operators[1]


def test_build_makes_digits_cnn_again(torch: Any, tmp_path: Path) -> None:
    import json

    pytest.importorskip("sklearn", reason="the dev extra is not installed")
    command = [sys.executable, "-W", "error", str(CIRCUITS / "digits-cnn" / "build.py"), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    built, committed = (
        json.loads((folder / "info.json").read_text()) for folder in (tmp_path, CIRCUITS / "digits-cnn")
    )
    assert built["weights"] == committed["weights"]
    assert built["operators"] == committed["operators"]
    assert built["sha256"]["holdout.npz"] == committed["sha256"]["holdout.npz"]
    gap = built["accuracy"]["float_holdout"] - committed["accuracy"]["float_holdout"]
    # Another processor rounds training differently; two points are far more than that ever moved.
    assert abs(gap) <= 0.02


def test_exported_module_compiles_to_integers_that_answer_alike(torch: Any) -> None:
    import numpy as np

    from vml.model.compiler import compile_model
    from vml.model.export import export_module

    class Residual(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Conv2d(1, 4, 3, padding=1)
            self.norm = torch.nn.BatchNorm2d(4)
            self.second = torch.nn.Conv2d(4, 4, 3, padding=1, groups=2)
            self.head = torch.nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            x = torch.nn.functional.silu(self.norm(self.first(x)))
            x = x + torch.nn.functional.gelu(self.second(x))
            return torch.softmax(self.head(x.mean(dim=(2, 3))), dim=-1)

    torch.manual_seed(0)
    module = Residual().eval()
    rows = torch.rand(24, 1, 8, 8)
    exported = export_module(module, rows[:1], input_names=["image"], output_names=["shares"])
    model = compile_model(exported.onnx, calibration={"image": rows[:16].numpy()})
    for row in rows[16:]:
        codes = model.run(model.quantize({"image": row[None].numpy()}, saturate=True))
        expected = module(row[None]).detach().numpy()
        # A thousandth of the largest share: int16 steps are 30 times finer.
        assert np.abs(model.dequantize(codes)["shares"] - expected).max() < 1e-3
