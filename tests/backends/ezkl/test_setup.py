"""Keys: cached by digest, never half-written, made once by two processes, and reproducible from the ONNX file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.backends.ezkl.conftest import Case, calibration, sample, tiny_mlp
from vml.backends.ezkl import preflight, prover, srs
from vml.backends.ezkl.circuit import Cost, RunArgs, cost, instance_count, least_log_rows
from vml.backends.ezkl.estimate import estimate
from vml.backends.ezkl.setup import (
    choose_setup,
    load,
    recompute,
    setup,
)
from vml.backends.ezkl.tuner import cheapest_rows
from vml.backends.types import SetupOptions, Visibility
from vml.errors import OutOfRange, ProvingError, UnsupportedModel
from vml.identities import IDENTITIES, record_identity
from vml.keccak import keccak256


def test_a_second_set_up_comes_from_the_cache(public: Case, cache: Path) -> None:
    before = (public.circuit.folder / "pk").stat().st_mtime_ns
    again = setup(tiny_mlp(), calibration(), SetupOptions(cache_dir=cache))
    assert again.identity == public.circuit.identity
    assert (again.folder / "pk").stat().st_mtime_ns == before


def test_anyone_with_the_onnx_file_recomputes_the_identity(public: Case) -> None:
    settings, setup_file = public.payload.settings, Path(public.circuit.setup.path)
    assert recompute(tiny_mlp(), settings, setup_file, SetupOptions()) == public.circuit.identity
    assert recompute(tiny_mlp(seed=1), settings, setup_file, SetupOptions()) != public.circuit.identity


def test_check_makes_the_keys_again(public: Case, cache: Path, tmp_path: Path) -> None:
    checked = setup(tiny_mlp(), calibration(), SetupOptions(cache_dir=cache, check=True))
    assert checked.identity == public.circuit.identity


def test_a_private_model_cannot_be_checked_without_its_salt(hidden_model: Case, cache: Path) -> None:
    options = SetupOptions(visibility=Visibility("hashed", "private"), cache_dir=cache, check=True)
    with pytest.raises(UnsupportedModel, match="salt"):
        setup(tiny_mlp(), calibration(), options)


def test_hidden_weights_do_not_show_in_key_or_settings(hidden_model: Case, tmp_path: Path) -> None:
    """Two sets of weights of one architecture: everything a proof carries beside instances is the same."""
    options = SetupOptions(visibility=Visibility("hashed", "private"), cache_dir=tmp_path)
    arguments = RunArgs(**{k: v for k, v in hidden_model.circuit.meta["run_args"].items() if k != "lookup_range"})
    assert arguments.param_visibility == "hashed"
    first = keys_of(tiny_mlp(), arguments, tmp_path, options)
    assert first == keys_of(tiny_mlp(seed=5), arguments, tmp_path, options)


def keys_of(source: bytes, arguments: RunArgs, folder: Path, options: SetupOptions) -> tuple[bytes, bytes]:
    from vml.backends.ezkl.process import Engine
    from vml.backends.ezkl.wrapper import wrap

    record = srs.make_test_setup(arguments.logrows, folder)
    salt = tuple(int(v) for v in np.random.default_rng(len(source)).integers(0, 1 << 15, 16))
    (folder / "m.onnx").write_bytes(wrap(source, options.visibility, salt).onnx)
    paths = {name: str(folder / name) for name in ("compiled", "vk", "pk")}
    with Engine() as engine:
        engine.call(
            "gen_settings",
            model=str(folder / "m.onnx"),
            settings=str(folder / "s.json"),
            run_args=arguments.to_json(),
        )
        engine.call(
            "compile", model=str(folder / "m.onnx"), settings=str(folder / "s.json"), compiled=paths["compiled"]
        )
        engine.call("setup", srs=record.path, **paths)
    return (folder / "vk").read_bytes(), (folder / "s.json").read_bytes()


def test_a_model_salt_is_in_the_digest_of_the_parameters(tmp_path: Path) -> None:
    """The salt is not folded away: the same weights under two salts have two digests and one output."""
    from vml.backends.ezkl.process import Engine
    from vml.backends.ezkl.sample import write_input
    from vml.backends.ezkl.wrapper import wrap

    visibility = Visibility(model="private")
    data = write_input(tmp_path / "in.json", [[0.5, -0.5, 0.25, 0.0], [65535] * 16])
    runs = []
    with Engine() as engine:
        for salt in ((0,) * 16, (0,) * 15 + (1,), (0,) * 15 + (1,)):
            paths = {name: str(tmp_path / name) for name in ("model", "settings")}
            (tmp_path / "model").write_bytes(wrap(tiny_mlp(), visibility, salt).onnx)
            engine.call("gen_settings", run_args=RunArgs().seen(visibility).to_json(), **paths)
            engine.call("compile", compiled=str(tmp_path / "c"), **paths)
            run = engine.call("witness", data=data, compiled=str(tmp_path / "c"), witness=str(tmp_path / "w"))
            runs.append(run)
    digests = [run["processed_params"]["poseidon_hash"] for run in runs]
    assert digests[0] != digests[1] == digests[2]
    assert runs[0]["outputs"] == runs[1]["outputs"]


def test_two_processes_make_one_key(tmp_path: Path) -> None:
    """Both get the same identity, and nobody sees a folder without its last file."""
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.backends.ezkl.conftest import tiny_mlp, calibration\n"
        "from vml.backends.ezkl.setup import setup\n"
        "from vml.backends.types import SetupOptions\n"
        "print(setup(tiny_mlp(), calibration(), SetupOptions(cache_dir=Path(sys.argv[1]))).identity.hex())\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    identities = {process.communicate(timeout=300)[0] for process in running}
    assert [process.returncode for process in running] == [0, 0]
    assert len(identities) == 1
    assert len([p for p in (tmp_path / "ezkl").iterdir() if p.is_dir()]) == 1


def test_a_damaged_key_is_named(public: Case, tmp_path: Path) -> None:
    for name, damage in (("vk", b"x"), ("settings.json", b"{}"), ("meta.json", b"{"), ("tau_g2", bytes(128))):
        copy = tmp_path / name
        shutil.copytree(public.circuit.folder, copy)
        (copy / name).write_bytes(damage)
        with pytest.raises(ProvingError, match="damaged"):
            load(copy)
    (tmp_path / "vk" / "wrapper.json").unlink()
    with pytest.raises(ProvingError, match="damaged"):
        load(tmp_path / "vk")


def test_a_failed_set_up_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ProvingError, match="memory"):
        setup(tiny_mlp(), calibration(), SetupOptions(cache_dir=tmp_path, memory_limit_bytes=1 << 20))
    assert [p for p in (tmp_path / "ezkl").iterdir() if p.is_dir()] == []


def test_identities_are_recorded_once(public: Case, tmp_path: Path) -> None:
    record_identity(tmp_path, public.circuit.keys)
    record_identity(tmp_path, public.circuit.keys)
    entries = json.loads((tmp_path / IDENTITIES).read_bytes())
    scheme = public.proof.scheme
    model, digest = public.circuit.identity, keccak256(public.circuit.verifying_key)
    assert entries == [
        {"backend": "ezkl", "scheme": scheme, "model": "0x" + model.hex(), "vk_digest": "0x" + digest.hex()}
    ]


def test_calibration_is_required_and_checked(cache: Path) -> None:
    options = SetupOptions(cache_dir=cache)
    with pytest.raises(ValueError, match="calibration"):
        setup(tiny_mlp(), None, options)
    for rows in (
        {"z": np.zeros((3, 4), np.float32)},
        {"x": np.zeros((3, 5), np.float32)},
        {"x": np.zeros((0, 4), np.float32)},
    ):
        with pytest.raises(ValueError, match=r"calibration|rows"):
            setup(tiny_mlp(), rows, options)
    with pytest.raises(OutOfRange):
        setup(tiny_mlp(), {"x": np.full((3, 4), np.nan, np.float32)}, options)


def test_an_unreachable_error_is_refused(cache: Path) -> None:
    with pytest.raises(UnsupportedModel, match="error"):
        setup(tiny_mlp(), calibration(), SetupOptions(cache_dir=cache, max_error=1e-12))


def test_an_imported_set_up_is_never_replaced_by_the_unsafe_one(tmp_path: Path) -> None:
    from tests.backends.ezkl.test_srs import forged_ceremony, sha256

    path = forged_ceremony(tmp_path)
    options = SetupOptions()
    assert choose_setup(4, None, tmp_path / "empty", options).unsafe
    record = srs.import_file(path, sha256(path), tmp_path)
    assert choose_setup(4, None, tmp_path, options) == record
    with pytest.raises(ProvingError, match="import a larger one"):
        choose_setup(5, None, tmp_path, options)
    assert choose_setup(3, path, tmp_path / "empty", options).setup_id == record.setup_id
    with pytest.raises(ProvingError, match="serves"):
        choose_setup(5, path, tmp_path / "empty", options)


def test_keys_of_the_unsafe_set_up_are_not_taken_once_a_ceremony_is_imported(public: Case, tmp_path: Path) -> None:
    from tests.backends.ezkl.test_srs import forged_ceremony, sha256

    (tmp_path / "ezkl").symlink_to(public.circuit.folder.parent)
    assert setup(tiny_mlp(), calibration(), SetupOptions(cache_dir=tmp_path)).setup.unsafe
    path = forged_ceremony(tmp_path)
    srs.import_file(path, sha256(path), tmp_path)
    with pytest.raises(ProvingError, match="import a larger one"):
        setup(tiny_mlp(), calibration(), SetupOptions(cache_dir=tmp_path))


def test_a_set_up_that_is_gone(public: Case, tmp_path: Path) -> None:
    gone = replace(public.circuit.setup, path=str(tmp_path / "gone.srs"))
    folder = tmp_path / "ezkl" / "key"
    shutil.copytree(public.circuit.folder, folder)
    circuit = replace(public.circuit, setup=gone, folder=folder)
    proof, _ = prover.prove(circuit, sample(), bytes(32))
    assert proof.claims[0].model == public.claim.model
    with pytest.raises(ProvingError, match="import it again"):
        prover.prove(replace(circuit, setup=replace(gone, unsafe=False)), sample(), bytes(32))


# Inputs


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        ({}, ValueError),
        ({"z": sample()["x"]}, ValueError),
        ({"x": sample()["x"], "y": sample()["x"]}, ValueError),
        ({"x": sample()["x"].ravel()}, ValueError),
        ({"x": np.array([["a"] * 4])}, ValueError),
        ({"x": np.full((1, 4), np.nan, np.float32)}, OutOfRange),
        ({"x": np.full((1, 4), -np.inf, np.float32)}, OutOfRange),
        ({"x": np.full((1, 4), 1e300)}, OutOfRange),
        ({"x": np.full((1, 4), 1e30, np.float32)}, ProvingError),
    ],
)
def test_bad_inputs_are_typed_errors(public: Case, inputs: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        prover.prove(public.circuit, inputs, bytes(32))


def test_bad_contexts_and_salts(public: Case) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        prover.prove(public.circuit, sample(), bytes(31))
    with pytest.raises(ValueError, match="private"):
        prover.prove(public.circuit, sample(), bytes(32), salt=bytes(32))


def test_the_opening_is_kept_for_its_owner(private: Case) -> None:
    name = "0x" + private.claim.digest().hex()
    path = private.circuit.folder / "openings" / f"{name}.json"
    assert json.loads(path.read_bytes()) == {"claim": name, "salt": "0x" + bytes(range(101, 133)).hex()}
    assert path.parent.stat().st_mode & 0o077 == 0


def test_two_salts_give_two_commitments(private: Case) -> None:
    again, opening = prover.prove(private.circuit, sample(), bytes(32))
    assert opening is not None
    assert again.claims[0].input != private.claim.input
    assert again.claims[0].output == private.claim.output


# Cost


def test_memory_is_refused_with_the_figure() -> None:
    price = Cost(log_rows=20, rows=1 << 20, blocks=2, key_words=1 << 28)
    with pytest.raises(ProvingError, match=r"needs about \d+\.\d GiB"):
        preflight.require_memory(price, 1 << 30)
    preflight.require_memory(price, 64 << 30)
    assert preflight.available_memory() > 0


def test_products_are_counted_from_shapes() -> None:
    from tests.backends.ezkl.test_wrapper import one_node
    from vml.backends.ezkl.wrapper import wrap

    assert wrap(tiny_mlp(), Visibility()).products == 4 * 3 + 3 * 2
    weights = np.zeros((8, 3, 5, 5), np.float32)
    wrapped = wrap(one_node("Conv", [1, 3, 20, 20], weights), Visibility())
    assert wrapped.products == 8 * 16 * 16 * 3 * 25
    transposed = wrap(one_node("ConvTranspose", [1, 8, 4, 4], weights), Visibility())
    assert transposed.products == 8 * 4 * 4 * 3 * 25


def test_a_huge_model_is_refused_before_ezkl_sees_it() -> None:
    with pytest.raises(ProvingError, match=r"4,000,000,000 products .* GiB"):
        preflight.require_products(4_000_000_000, 24 << 30)
    preflight.require_products(1_000_000, 24 << 30)


def test_a_proof_that_cannot_fit_is_refused_before_any_work(public: Case) -> None:
    huge = {**public.circuit.meta, "cost": {"log_rows": 22, "rows": 1, "blocks": 1, "key_words": 1 << 40}}
    with pytest.raises(ProvingError, match="GiB"):
        prover.prove(replace(public.circuit, meta=huge), sample(), bytes(32))


def test_the_predicted_key_is_near_the_real_one(public: Case, private: Case) -> None:
    for case in (public, private):
        predicted = cost(json.loads(case.payload.settings)).key_bytes
        real = (case.circuit.folder / "pk").stat().st_size
        assert 0.5 < predicted / real < 2.0


def test_rows_are_enough_and_the_cheapest(public: Case) -> None:
    settings = json.loads(public.payload.settings)
    best = cheapest_rows(settings)
    assert best.log_rows >= least_log_rows(settings)
    assert all(best.key_words <= cost(settings, k).key_words for k in range(best.log_rows, best.log_rows + 3))
    assert instance_count(settings) == len(public.payload.instances)


def test_an_estimate_needs_no_keys() -> None:
    found = estimate(tiny_mlp(), Visibility())
    assert found.fits
    assert found.reasons == ()
    assert 0 < (found.prove_s or 0) < 60
    assert (found.memory_bytes or 0) < 2 << 30


def test_an_estimate_says_why_not() -> None:
    import onnx

    model = onnx.load_from_string(tiny_mlp())
    model.graph.node[2].op_type = "Det"
    found = estimate(bytes(model.SerializeToString()), Visibility())
    assert not found.fits
    assert found.reasons
