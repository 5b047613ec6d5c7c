"""The model folder: what is saved is what is loaded, and nothing half-written, damaged or foreign is believed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy as safetensors
from onnx_models import mlp, rows

from vml.errors import OutOfRange, UnsupportedModel
from vml.model import Model, compile_model
from vml.model.compiled import CALIBRATION, CERTIFICATE, GRAPH, SOURCE, TENSORS

FILES = (GRAPH, TENSORS, SOURCE, CERTIFICATE, CALIBRATION)


@pytest.fixture(scope="module")
def model() -> Model:
    return compile_model(bytes(mlp().SerializeToString()), calibration=rows())


@pytest.fixture
def folder(model: Model, tmp_path: Path) -> Path:
    model.save(tmp_path / "m.vml")
    return tmp_path / "m.vml"


def edit(path: Path, change: Callable[[Any], None]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_what_is_saved_is_what_is_loaded(model: Model, folder: Path) -> None:
    loaded = Model.load(folder)
    assert sorted(p.name for p in folder.iterdir()) == sorted(FILES)
    assert loaded.commitment == model.commitment == Model.read_commitment(folder)
    assert loaded.graph.nodes == model.graph.nodes
    assert (loaded.inputs, loaded.outputs, loaded.source) == (model.inputs, model.outputs, model.source)
    assert loaded.certificate == model.certificate
    assert loaded.folder == folder
    assert np.array_equal(loaded.calibration["x"], model.calibration["x"])


def test_both_executors_agree_on_floats_in_floats_out(folder: Path) -> None:
    loaded = Model.load(folder)
    codes = loaded.quantize({"x": rows()["x"][:1]})
    fast, exact = loaded.run(codes), loaded.run_exact(codes)
    assert fast["y"].tolist() == exact["y"].tolist()
    assert fast["y"].dtype == exact["y"].dtype
    assert loaded.dequantize(fast)["y"].dtype == np.float32
    with pytest.raises(ValueError, match="the model has"):
        loaded.dequantize({"z": fast["y"]})


def test_saving_twice_gives_the_same_bytes(model: Model, folder: Path, tmp_path: Path) -> None:
    again = model.save(tmp_path / "again.vml")
    assert again.folder is not None
    for name in FILES:
        assert (again.folder / name).read_bytes() == (folder / name).read_bytes(), name


def test_an_earlier_model_is_replaced_and_anything_else_is_not(model: Model, folder: Path, tmp_path: Path) -> None:
    (folder / "identities.json").write_text("{}")
    model.save(folder)
    assert sorted(p.name for p in folder.iterdir()) == sorted(FILES)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(FileExistsError, match="not replaced"):
        model.save(photos)
    assert (photos / "cat.jpg").read_bytes() == b"cat"
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match="is a file"):
        model.save(tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        model.save(tmp_path / "absent" / "m.vml")
    Model.check_target(folder)
    Model.check_target(tmp_path / "new.vml")


def test_there_is_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no compiled model"):
        Model.load(tmp_path / "absent.vml")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match="no compiled model"):
        Model.load(tmp_path / "file")
    with pytest.raises(UnsupportedModel, match="not a complete compiled model"):
        Model.load(tmp_path)


# Interrupted and full disks.


def fail_after(real: Callable[..., Any], calls: int, error: BaseException) -> Callable[..., Any]:
    count = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count > calls:
            raise error
        return real(*args, **kwargs)

    return wrapped


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()], ids=["disk full", "interrupted"])
@pytest.mark.parametrize("calls", range(4))
def test_a_write_that_fails_leaves_nothing(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int, error: BaseException
) -> None:
    monkeypatch.setattr(Path, "open", fail_after(Path.open, calls, error))
    with pytest.raises(type(error)):
        model.save(tmp_path / "m.vml")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["rename", "replace"])
def test_a_swap_that_fails_keeps_the_earlier_model(
    model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    other = compile_model(bytes(mlp(seed=7).SerializeToString()), calibration=rows())
    for module in (os, Path):
        monkeypatch.setattr(module, step, fail_after(getattr(module, step), 0, FULL))
    if step == "rename":
        with pytest.raises(OSError, match="disk is full"):
            other.save(folder)
    monkeypatch.undo()
    assert Model.load(folder).commitment == model.commitment
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_the_message_of_a_full_disk_names_the_folder(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "open", fail_after(Path.open, 2, FULL))
    with pytest.raises(OSError, match=r"m\.vml.*disk is full.*nothing was left behind"):
        model.save(tmp_path / "m.vml")


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_a_process_killed_while_saving_leaves_the_earlier_model(model: Model, folder: Path) -> None:
    killed = run_python(
        "import os, sys, numpy\n"
        "from vml.model import Model\n"
        "model = Model.load(sys.argv[1])\n"
        "numpy.savez_compressed = lambda *a, **k: os._exit(9)\n"
        "model.save(sys.argv[1])\n",
        str(folder),
    )
    assert killed.returncode == 9, killed.stderr
    assert len(list(folder.parent.iterdir())) == 2, "the unfinished folder stays beside it, under another name"
    assert Model.load(folder).commitment == model.commitment
    assert model.save(folder).folder == folder


def test_the_commitment_is_read_without_the_compile_extra(model: Model, folder: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('onnx', 'onnxruntime', 'onnxslim', 'safetensors', 'numba'):\n"
        "    sys.modules[name] = None\n"
        "from vml.errors import BackendUnavailable\n"
        "from vml.model import Model\n"
        "print(Model.read_commitment(sys.argv[1]).hex())\n"
        "try:\n"
        "    Model.load(sys.argv[1])\n"
        "except BackendUnavailable as error:\n"
        "    print(error)\n"
    )
    done = run_python(code, str(folder))
    assert done.stdout.splitlines()[:1] == [model.commitment.hex()], done.stderr
    assert "vml[compile]" in done.stdout


# Damaged folders.


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_noticed(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UnsupportedModel, match="compile it again"):
        Model.load(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_half_written_file_is_noticed(folder: Path, name: str, share: float) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UnsupportedModel, match="compile it again"):
        Model.load(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_link_inside_the_folder_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsupportedModel, match="symbolic link"):
        Model.load(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_or_pipe_in_place_of_a_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(UnsupportedModel, match="not a regular file"):
        Model.load(folder)


@pytest.mark.parametrize(
    ("name", "limit"), [(GRAPH, "GRAPH"), (TENSORS, "TENSOR"), (SOURCE, "SOURCE"), (CERTIFICATE, "CERTIFICATE")]
)
def test_a_file_that_is_too_large_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, limit: str
) -> None:
    monkeypatch.setattr(f"vml.model.compiled.MAX_{limit}_BYTES", 10)
    with pytest.raises(UnsupportedModel, match=f"'{name}' in .* is larger than 10 bytes"):
        Model.load(folder)


def test_a_changed_weight_is_noticed(folder: Path) -> None:
    tensors = safetensors.load((folder / TENSORS).read_bytes())
    name = max(tensors, key=lambda n: tensors[n].size)
    tensors[name].reshape(-1)[0] += 1
    (folder / TENSORS).write_bytes(safetensors.save(tensors))
    with pytest.raises(UnsupportedModel, match=r"root|range"):
        Model.load(folder)


def test_other_constants_than_the_graph_has_are_refused(folder: Path) -> None:
    tensors = safetensors.load((folder / TENSORS).read_bytes())
    (folder / TENSORS).write_bytes(safetensors.save({**tensors, "999": np.zeros(1, np.int8)}))
    with pytest.raises(UnsupportedModel, match="does not hold exactly"):
        Model.load(folder)


def change_shift(graph: Any) -> None:
    node = next(n for n in graph["nodes"] if n["primitive"] == "rescale")
    node["attributes"]["multiplier"] += 1


def change_range(graph: Any) -> None:
    node = next(n for n in graph["nodes"] if n["primitive"] == "dot")
    node["range"][1] -= 1


@pytest.mark.parametrize("change", [change_shift, change_range])
def test_a_changed_graph_is_noticed_even_under_its_own_commitment(folder: Path, change: Callable[[Any], None]) -> None:
    edit(folder / GRAPH, change)
    with pytest.raises(UnsupportedModel, match="recorded commitment"):
        Model.load(folder)
    with pytest.raises(UnsupportedModel, match="recorded commitment"):
        Model.read_commitment(folder)

    edit(folder / GRAPH, lambda graph: graph.update(commitment=recomputed(graph)))
    with pytest.raises(UnsupportedModel, match=r"not the derived|another model"):
        Model.load(folder)


def recomputed(graph: Any) -> str:
    """The commitment an attacker would write over a changed graph."""
    from vml.model.compiled import _node_from_json, _spec_from_json
    from vml.model.graph import Graph

    nodes = tuple(_node_from_json(node) for node in graph["nodes"])
    ends = [tuple(_spec_from_json(spec, nodes) for spec in graph[key]) for key in ("inputs", "outputs")]
    return "0x" + Graph(nodes, {}, ends[0], ends[1], tuple(n["name"] for n in graph["nodes"])).commitment.hex()


@pytest.mark.parametrize(
    "change",
    [
        lambda g: g.update(format="vml-model/2"),
        lambda g: g.update(semantics="vml-int/2"),
        lambda g: g.pop("nodes"),
        lambda g: g.update(nodes=[]),
        lambda g: g.update(nodes={"a": 1}),
        lambda g: g["nodes"][0].update(primitive="teleport"),
        lambda g: g["nodes"][0].update(dtype="float32"),
        lambda g: g["nodes"][0].update(shape=[1.5]),
        lambda g: g["nodes"][0].update(shape=["1"]),
        lambda g: g["nodes"][0].update(range=[0]),
        lambda g: g["nodes"][-1].update(inputs=[10**6]),
        lambda g: g["nodes"][-1].update(inputs=[-1]),
        lambda g: g["nodes"][-1].update(attributes={}),
        lambda g: g["nodes"][-1].update(attributes=None),
        lambda g: g["nodes"][0].update(name=7),
        lambda g: g["inputs"][0].update(node=10**6),
        lambda g: g["inputs"][0].update(scale=["0", "1"]),
        lambda g: g["inputs"][0].update(scale=["1"]),
        lambda g: g["inputs"][0].update(scale=[1, 1]),
        lambda g: g["inputs"][0].update(saturate=1),
        lambda g: g["inputs"][0].update(onnx_dtype="cat"),
        lambda g: g["outputs"].clear(),
    ],
)
def test_a_graph_of_another_form_is_refused(folder: Path, change: Callable[[Any], None]) -> None:
    edit(folder / GRAPH, change)
    with pytest.raises(UnsupportedModel):
        Model.load(folder)


@pytest.mark.parametrize("text", ["[]", "null", "3", '"x"', "[" * 10000, "{}", "\x00"])
def test_json_that_is_no_graph_is_refused(folder: Path, text: str) -> None:
    (folder / GRAPH).write_text(text)
    with pytest.raises(UnsupportedModel):
        Model.load(folder)


def test_files_of_two_models_do_not_mix(folder: Path, tmp_path: Path) -> None:
    other = compile_model(bytes(mlp(seed=7).SerializeToString()), calibration=rows()).save(tmp_path / "o.vml")
    assert other.folder is not None
    for name, message in ((CERTIFICATE, "another model"), (SOURCE, "not the one in"), (TENSORS, "node")):
        kept = (folder / name).read_bytes()
        shutil.copy(other.folder / name, folder / name)
        with pytest.raises(UnsupportedModel, match=message):
            Model.load(folder)
        (folder / name).write_bytes(kept)
    assert Model.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(extra=1),
        lambda c: c.pop("versions"),
        lambda c: c.update(format="vml-certificate/2"),
        lambda c: c["differences"][0]["calibration"].update(max_error="0"),
    ],
)
def test_a_certificate_of_another_form_is_refused(folder: Path, change: Callable[[Any], None]) -> None:
    edit(folder / CERTIFICATE, change)
    with pytest.raises(UnsupportedModel, match="compile it again"):
        Model.load(folder)


def test_calibration_rows_must_fit_the_model(folder: Path) -> None:
    with (folder / CALIBRATION).open("wb") as file:
        np.savez_compressed(file, x=np.zeros((3, 5), np.float32))
    with pytest.raises(UnsupportedModel, match="shape"):
        Model.load(folder)


def test_only_so_many_rows_are_kept(tmp_path: Path) -> None:
    many = compile_model(bytes(mlp().SerializeToString()), calibration=rows(400))
    assert many.certificate.calibration.rows == 300
    assert len(many.save(tmp_path / "m.vml").calibration["x"]) == 128
    assert len(Model.load(tmp_path / "m.vml").calibration["x"]) == 128


def test_the_source_is_a_model_that_onnxruntime_runs(folder: Path) -> None:
    import onnxruntime

    loaded = Model.load(folder)
    assert hashlib.sha256(loaded.source).hexdigest() == loaded.certificate.source.sha256
    session = onnxruntime.InferenceSession(loaded.source, providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": rows()["x"][:1]})[0].shape == (1, 3)


def test_inputs_outside_the_range_are_refused_by_the_loaded_model(folder: Path) -> None:
    loaded = Model.load(folder)
    with pytest.raises(OutOfRange):
        loaded.quantize({"x": np.full((1, 4), 100, np.float32)})
    assert loaded.quantize({"x": np.full((1, 4), 100, np.float32)}, saturate=True)
