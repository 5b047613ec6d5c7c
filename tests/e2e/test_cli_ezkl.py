"""From an ONNX file to a proof that another process verifies, through the command line, with the real ezkl."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vml.cli import forging_ezkl as forging
from vml.cli import main
from vml.proof import Proof

ROOT = Path(__file__).parents[2]
CIRCUIT = ROOT / "circuits" / "breast-cancer-mlp"
PERSON, WORD = "0x" + "11" * 20, "0x" + "22" * 32
ENGINE_REFUSES = "the circuit's proof does not hold"


def elsewhere(*arguments: object, cwd: Path = ROOT, limit_file_bytes: int | None = None) -> Any:
    """`vml` in a process of its own."""

    def limited() -> None:
        if limit_file_bytes is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_file_bytes, limit_file_bytes))

    command = [sys.executable, "-m", "vml", *map(str, arguments)]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=300, env=environment, preexec_fn=limited
    )


def run(*arguments: object) -> Any:
    """`vml` in this process, which saves starting one."""
    out, err = io.StringIO(), io.StringIO()
    texts = [str(argument) for argument in arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(texts)
    return subprocess.CompletedProcess(texts, code, out.getvalue(), err.getvalue())


def answer(done: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(done.stdout)
    return value


@dataclass(frozen=True)
class Made:
    """A compiled model, a proof bound to a context, and the identity to pin."""

    folder: Path
    proof: Path
    identity: str
    context: str
    answer: dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    work = tmp_path_factory.mktemp("ezkl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VML_CACHE_DIR", str(work / "cache"))
        folder, proof = work / "model.vml", work / "run.proof.json"
        done = run("compile", CIRCUIT / "model.onnx", "-o", folder, "--calibrate", CIRCUIT / "calibration.npz")
        assert done.returncode == 0, done.stderr
        use = ["--requester", PERSON, "--chain", 1, "--contract", PERSON, "--request", WORD, "--payee", PERSON]
        context = run("context", *use, "--expiry", 1).stdout.strip()
        done = run(
            "prove", folder, CIRCUIT / "sample.npz", "-o", proof, "--backend", "ezkl", "--context", context, "--json"
        )
        assert done.returncode == 0, done.stderr
        value = answer(done)
        yield Made(folder, proof, value["claims"][0]["model"], context, value)


def check(made: Made, *more: object, proof: Path | None = None, model: object = None) -> Any:
    return run(
        "verify",
        proof or made.proof,
        "--model",
        model or made.identity,
        "--context",
        made.context,
        "--allow-unsafe-setup",
        "--json",
        *more,
    )


def test_another_process_verifies_with_proof_and_identity_only(made: Made, tmp_path: Path) -> None:
    shutil.copy(made.proof, tmp_path / "p.json")
    done = elsewhere(
        "verify", "p.json", "--model", made.identity, "--context", made.context, "--allow-unsafe-setup", "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    value = answer(done)
    assert value["verified"] is True
    assert value["backend"] == "ezkl"
    assert value["assurance"] == "cryptographic"
    assert value["unsafe_setup"] is True
    assert value["hidden"] == []
    assert any("anybody can forge" in trust for trust in value["trusted"])
    assert value["claims"] == made.answer["claims"]


def test_the_folder_knows_its_identity(made: Made) -> None:
    assert check(made, model=made.folder).returncode == 0


def test_the_onnx_file_gives_the_same_identity(made: Made) -> None:
    done = check(made, model=CIRCUIT / "model.onnx")
    assert done.returncode == 0, done.stderr
    done = check(made, model=ROOT / "circuits" / "digits-mlp" / "model.onnx")
    assert done.returncode == 1
    assert answer(done)["verified"] is False


def test_the_test_setup_must_be_allowed(made: Made) -> None:
    done = run("verify", made.proof, "--model", made.identity, "--context", made.context, "--json")
    assert done.returncode == 1
    assert answer(done)["error"]["rule"] == "allow_unsafe_setup"


def test_pins_of_a_policy(made: Made, tmp_path: Path) -> None:
    verdict = answer(check(made))
    policy = tmp_path / "policy.yaml"
    for text, code in [
        (f"verifying_keys: [{verdict['vk_digest']}]", 0),
        (f"verifying_keys: [{WORD}]", 1),
        (f"setups: [{WORD}]", 1),
        ("engines: [ezkl 23.0.5]", 0),
        ("engines: [ezkl 22.0.0]", 1),
        ("backends: [sumcheck]", 1),
    ]:
        policy.write_text(text)
        assert check(made, "--policy", policy).returncode == code, text


def test_input_and_output_can_be_compared(made: Made, tmp_path: Path) -> None:
    assert check(made, "--input", CIRCUIT / "sample.npz").returncode == 0
    (shown,) = made.answer["output"]
    right = np.array(shown["values"], np.float64).reshape(shown["shape"]) / 2 ** shown["scale"]
    outputs = tmp_path / "out.json"
    outputs.write_text(json.dumps({shown["name"]: right.tolist()}))
    assert check(made, "--output", outputs).returncode == 0
    outputs.write_text(json.dumps({shown["name"]: (right + 0.5).tolist()}))
    done = check(made, "--output", outputs)
    assert (done.returncode, answer(done)["error"]["field"]) == (1, "output")
    with np.load(CIRCUIT / "sample.npz") as sample:
        np.savez(tmp_path / "other.npz", **{name: array + 1 for name, array in sample.items()})
    done = check(made, "--input", tmp_path / "other.npz")
    assert (done.returncode, answer(done)["error"]["field"]) == (1, "input")


FORGERIES: dict[str, Callable[[Proof], Proof]] = {
    "input": lambda proof: forging.other_input(proof, values(proof, "input")),
    "output": lambda proof: forging.other_output(proof, values(proof, "output")),
    "context": lambda proof: forging.other_context(proof, bytes.fromhex(WORD[2:])),
}


def values(proof: Proof, part: str) -> list[int]:
    """The shown values, turned round."""
    public: Any = proof.public
    return list(public[part][0]["values"][::-1])


@pytest.mark.parametrize("field", FORGERIES)
def test_consistent_lies_are_refused_by_the_circuit(made: Made, field: str, tmp_path: Path) -> None:
    forged = FORGERIES[field](Proof.load(made.proof))
    assert forged.claims[0] != Proof.load(made.proof).claims[0]
    forged.save(tmp_path / "forged.json")
    use = WORD if field == "context" else made.context
    done = run(
        "verify", tmp_path / "forged.json", "--model", made.identity, "--context", use, "--allow-unsafe-setup", "--json"
    )
    assert done.returncode == 1
    error = answer(done)["error"]
    assert error["type"] == "ProofRejected"
    assert ENGINE_REFUSES in error["message"]


def test_replay_in_another_context(made: Made) -> None:
    for context in (["--context", WORD], []):
        done = run("verify", made.proof, "--model", made.identity, "--allow-unsafe-setup", "--json", *context)
        assert (done.returncode, answer(done)["error"]["field"]) == (1, "context")


def test_any_changed_byte(made: Made, tmp_path: Path) -> None:
    data, source = made.proof.read_bytes(), random.Random(5)
    changed = tmp_path / "changed.json"
    for at in sorted(source.sample(range(len(data)), 40)):
        changed.write_bytes(data[:at] + bytes([data[at] ^ (1 << source.randrange(7))]) + data[at + 1 :])
        assert check(made, proof=changed).returncode == 1, f"byte {at}"


def test_hidden_input_and_its_opening(made: Made, tmp_path: Path) -> None:
    proof = tmp_path / "hidden.proof.json"
    done = run("prove", made.folder, CIRCUIT / "sample.npz", "-o", proof, "--private", "input", "--json")
    assert done.returncode == 0, done.stderr
    value = answer(done)
    opening = tmp_path / "hidden.opening.json"
    assert value["opening"] == str(opening)
    assert opening.stat().st_mode & 0o077 == 0
    common = ["verify", proof, "--model", made.folder, "--allow-unsafe-setup", "--json"]
    done = run(*common)
    assert done.returncode == 0, done.stderr
    assert answer(done)["hidden"]
    assert "input" not in json.loads(proof.read_text())["public"]
    assert run(*common, "--input", CIRCUIT / "sample.npz").returncode == 2
    assert run(*common, "--input", CIRCUIT / "sample.npz", "--opening", opening).returncode == 0


# ---- bad input


def save(path: Path, nodes: Sequence[Any], weights: dict[str, Any], shape: Sequence[Any], outputs: Any = None) -> Path:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, outputs)],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def not_onnx(folder: Path) -> Path:
    (folder / "m.onnx").write_bytes(b"this is not a model, it is a sentence")
    return folder / "m.onnx"


def truncated(folder: Path) -> Path:
    data = (CIRCUIT / "model.onnx").read_bytes()
    (folder / "m.onnx").write_bytes(data[: len(data) // 2])
    return folder / "m.onnx"


def external_data_missing(folder: Path) -> Path:
    onnx.save(
        onnx.load(CIRCUIT / "model.onnx"),
        folder / "m.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    (folder / "weights.bin").unlink()
    return folder / "m.onnx"


def unknown_operator(folder: Path) -> Path:
    nodes = [helper.make_node("NonMaxSuppressionX", ["x"], ["y"], name="odd one")]
    return save(folder / "m.onnx", nodes, {}, [1, 4], [1, 4])


def dynamic_shape(folder: Path) -> Path:
    return save(folder / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], {}, [1, 3, "height", "width"])


def nan_weights(folder: Path) -> Path:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="layer")]
    return save(folder / "m.onnx", nodes, {"w": np.array([[1, np.nan]] * 4)}, [1, 4], [1, 2])


def infinite_weights(folder: Path) -> Path:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="layer")]
    return save(folder / "m.onnx", nodes, {"w": np.array([[1, np.inf]] * 4)}, [1, 4], [1, 2])


BAD_MODELS = {
    not_onnx: "not",
    truncated: "m.onnx",
    external_data_missing: "weights.bin",
    unknown_operator: "NonMaxSuppressionX",
    dynamic_shape: "height",
    nan_weights: "w",
    infinite_weights: "w",
}


@pytest.mark.parametrize("make", BAD_MODELS, ids=lambda make: make.__name__)
def test_bad_models_are_unsupported(make: Callable[[Path], Path], tmp_path: Path) -> None:
    done = run("compile", make(tmp_path), "-o", tmp_path / "m.vml", "--input-range", -1, 1, "--json")
    assert done.returncode == 3, done.stderr
    assert BAD_MODELS[make] in answer(done)["error"]["message"]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "m.vml").exists()


def test_no_calibration_and_no_range(tmp_path: Path) -> None:
    done = run("compile", CIRCUIT / "model.onnx", "-o", tmp_path / "m.vml")
    assert done.returncode == 2
    assert "--calibrate" in done.stderr


def test_bad_inputs(made: Made, tmp_path: Path) -> None:
    good = np.load(CIRCUIT / "sample.npz")["features"]
    nan = good.copy()
    nan[0, 3] = np.nan
    for arrays, code in [
        ({"other": good}, 2),
        ({"features": good, "more": good}, 2),
        ({"features": good[:, :-1]}, 2),
        ({"features": good.astype(np.float64)}, 2),
        ({"features": nan}, 2),
        ({"features": good * 100}, 5),
    ]:
        np.savez(tmp_path / "bad.npz", **arrays)
        done = run("prove", made.folder, tmp_path / "bad.npz", "-o", tmp_path / "p.json", "--backend", "ezkl")
        assert done.returncode == code, done.stderr
        assert not (tmp_path / "p.json").exists()


def test_a_full_disk_leaves_nothing(made: Made, tmp_path: Path) -> None:
    done = elsewhere(
        "compile", CIRCUIT / "model.onnx", "-o", tmp_path / "m.vml", "--input-range", 0, 1, "--quiet",
        limit_file_bytes=4096,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_noise_and_other_versions(made: Made, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    with bad.open("wb") as file:
        for _ in range(100):
            file.write(os.urandom(1 << 20))
    done = check(made, proof=bad)
    assert (done.returncode, answer(done)["error"]["type"]) == (1, "MalformedProof")
    bad.write_bytes(made.proof.read_bytes().replace(b"vml-proof/1", b"vml-proof/9"))
    done = check(made, proof=bad)
    assert "vml-proof/9" in answer(done)["error"]["message"]


@pytest.mark.parametrize("name", ["graph.json", "tensors.safetensors", "source.onnx", "identities.json"])
def test_links_inside_a_model_folder(made: Made, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "m.vml"
    shutil.copytree(made.folder, folder)
    (folder / name).unlink()
    (folder / name).symlink_to(made.folder / name)
    if name == "identities.json":
        done = check(made, model=folder)
    else:
        done = run("prove", folder, CIRCUIT / "sample.npz", "-o", tmp_path / "p.json", "--backend", "ezkl")
    assert done.returncode in (2, 3)
    assert "symbolic link" in done.stderr


@pytest.mark.slow
def test_the_demo(tmp_path: Path) -> None:
    done = elsewhere("demo", "--json")
    assert done.returncode == 0, done.stderr
    value = answer(done)
    assert [act["backend"] for act in value["acts"]] == ["sumcheck", "ezkl"]
    for act in value["acts"]:
        assert value["digit"] == value["decided"] == act["proved"]
        assert [attack["name"] for attack in act["attacks"]] == ["other model", "other input", "other output", "replay"]
        refusal = ENGINE_REFUSES if act["backend"] == "ezkl" else "ProofRejected"
        assert all(attack["refused"] and refusal in attack["error"] for attack in act["attacks"])
    assert [attack["error"] for attack in value["chain"]["attacks"]] == [
        "InvalidProof",
        "WrongInput",
        "InvalidProof",
        "WrongContext",
    ]
    assert value["chain"]["gas"] > 400_000
    assert value["bonds"]["true"]["status"] == "final"
    assert value["bonds"]["false"]["status"] == "slashed"
    assert value["bonds"]["false"]["sent"]["challenger"][-1] == "ProveStep"
    assert len(value["attacks"]) == 12
