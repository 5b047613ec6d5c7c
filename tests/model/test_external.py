"""Weights in files beside the model: read in, and never from anywhere else."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto
from onnx_models import mlp

from vml.errors import UnsupportedModel
from vml.model.importer import import_model


def data(proto: onnx.ModelProto) -> bytes:
    return bytes(proto.SerializeToString())


def external(folder: Path, location: str = "w.bin", **entries: str) -> Path:
    proto = mlp()
    tensor = proto.graph.initializer[0]
    (folder / "w.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    (folder / "m.onnx").write_bytes(data(proto))
    return folder / "m.onnx"


def test_external_data_are_read_in(tmp_path: Path) -> None:
    imported = import_model(external(tmp_path))
    assert imported.proto == import_model(data(mlp())).proto
    assert set(imported.files) == {"m.onnx", "w.bin"}


def test_missing_external_data(tmp_path: Path) -> None:
    path = external(tmp_path)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(UnsupportedModel, match="of tensor 'w1' is missing"):
        import_model(path)


def test_external_data_need_a_path(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="give the model's path"):
        import_model(external(tmp_path).read_bytes())


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "a/../../w.bin", "", "..", "a\\w.bin", "w.bin\0x"])
def test_external_data_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    path = external(inside, location)
    (tmp_path / "w.bin").write_bytes((inside / "w.bin").read_bytes())
    with pytest.raises(UnsupportedModel, match="refused"):
        import_model(path)


def test_external_data_behind_a_link_are_refused(tmp_path: Path) -> None:
    path = external(tmp_path)
    (tmp_path / "w.bin").rename(tmp_path / "real.bin")
    (tmp_path / "w.bin").symlink_to(tmp_path / "real.bin")
    with pytest.raises(UnsupportedModel, match="symbolic link"):
        import_model(path)


@pytest.mark.parametrize(
    "entries",
    [{"offset": "-4"}, {"offset": "4"}, {"offset": "x"}, {"length": "5"}, {"offset": "999999999999"}],
)
def test_external_data_of_another_size_are_refused(tmp_path: Path, entries: dict[str, str]) -> None:
    with pytest.raises(UnsupportedModel, match="external data"):
        import_model(external(tmp_path, **entries))


def test_external_data_beyond_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = external(tmp_path)
    monkeypatch.setattr("vml.model.importer.MAX_MODEL_BYTES", path.stat().st_size + 10)
    with pytest.raises(UnsupportedModel, match="more than 2 GiB of weights"):
        import_model(path)
