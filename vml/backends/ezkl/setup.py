"""Keys: from an ONNX model to a proving key, a verifying key and a model identity, cached by digest.

A key's folder holds ``compiled`` and ``pk`` (what proving needs), ``vk``, ``settings.json``, ``wrapper.json``
and ``tau_g2`` (what a proof carries), and ``meta.json``. It appears under its name only when complete, and two
processes that want the same key wait for each other.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vml import cache, files
from vml.backends.ezkl import calibration, preflight, srs
from vml.backends.ezkl.circuit import RunArgs, cost
from vml.backends.ezkl.commitments import model_identity
from vml.backends.ezkl.process import Engine
from vml.backends.ezkl.statement import (
    ENGINE_VERSION,
    LANE_BITS,
    SALT_LANES,
    Statement,
    encode_settings,
    felt_to_word,
    scheme_of,
)
from vml.backends.ezkl.tuner import MAX_COLUMNS, ON_CHAIN_COLUMNS, Tuner
from vml.backends.ezkl.wrapper import Wrapped, wrap
from vml.backends.types import Keys, SetupOptions, Visibility
from vml.errors import MalformedProof, ProvingError, UnsupportedModel
from vml.keccak import keccak256

UNSTEADY = ("num_rows", "total_assignments")
"""Counts that ezkl lays out one or two apart, one time in ten, for the same file, arguments and verifying key."""


@dataclass(frozen=True)
class Circuit:
    """A circuit and its keys on disk.

    Args:
        folder: of the key.
        identity: 32-byte model identity.
        wrapper, settings, verifying_key, tau_g2: as a payload carries them.
        statement: how its instances read.
        setup: record of the structured reference string.
        meta: what the set-up found: predicted cost, error, run arguments.
    """

    folder: Path
    identity: bytes
    wrapper: bytes
    settings: bytes
    verifying_key: bytes
    tau_g2: bytes
    statement: Statement
    setup: srs.SetupFile
    meta: Mapping[str, Any]

    @property
    def keys(self) -> Keys:
        """As the protocol hands them around."""
        return Keys(
            backend="ezkl",
            scheme=scheme_of(self.statement.visibility),
            model=self.identity,
            verifying_key=self.verifying_key,
            directory=self.folder,
            setup_id=bytes.fromhex(self.setup.setup_id.removeprefix("0x")),
            unsafe_setup=self.setup.unsafe,
        )


def setup(source: bytes, calibration_rows: Mapping[str, Any] | None, options: SetupOptions) -> Circuit:
    """Make the keys of a model, or take them from the cache.

    Args:
        source: ONNX bytes with static shapes.
        calibration_rows: sample inputs by name, one row each along the first axis.
        options: see `SetupOptions`.

    Returns:
        The circuit.

    Raises:
        ValueError: there is no calibration sample.
        UnsupportedModel: ezkl cannot express the model within the error.
        ProvingError: it does not fit the memory limit, `check` found a difference, or ezkl failed.
        BackendUnavailable: software is missing.
    """
    if options.asserting is not None:
        raise ValueError("ezkl proves and asserts nothing: asserting means nothing")
    if options.attesting is not None:
        raise ValueError("ezkl proves here and asks no attester: attesting means nothing")
    if options.on_chain and not options.tune:
        raise ValueError("a circuit for the chain is a tuned one: leave --no-tune out")
    if calibration_rows is None:
        raise ValueError("ezkl needs calibration inputs: give them with --calibrate, or compile with them")
    root = cache.folder(options.cache_dir)
    private = options.visibility.model == "private"
    # Tuning must see the graph with its salt; the salt itself changes no cost.
    trial = wrap(source, options.visibility, (0,) * SALT_LANES if private else ())
    rows = calibration.rows_of(trial.inputs, calibration_rows)
    name = _cache_name(source, trial, rows, options, root)
    parent = root / "ezkl"
    with cache.lock(parent, name):
        folder = parent / name
        if not folder.exists():
            salt = tuple(secrets.randbelow(1 << LANE_BITS) for _ in range(SALT_LANES)) if private else ()
            wrapped = wrap(source, options.visibility, salt) if private else trial
            _build(source, wrapped, rows, options, root, folder)
        circuit = load(folder)
    if options.check:
        _check(source, circuit, options)
    return circuit


def load(folder: Path) -> Circuit:
    """Read a key's folder.

    Raises:
        ProvingError: it is damaged; the message says how to make it again.
    """
    try:
        meta = json.loads((folder / "meta.json").read_bytes())
        parts = {name: (folder / name).read_bytes() for name in ("wrapper.json", "settings.json", "vk", "tau_g2")}
        record = srs.SetupFile(**meta["setup"])
        visibility = Visibility(**meta["visibility"])
        statement = Statement.read(parts["wrapper.json"], parts["settings.json"], visibility)
        circuit = Circuit(
            folder,
            bytes.fromhex(meta["identity"]),
            parts["wrapper.json"],
            parts["settings.json"],
            parts["vk"],
            parts["tau_g2"],
            statement,
            record,
            meta,
        )
        digests = [bytes.fromhex(digest) for digest in meta["parameter_digests"]]
        if identity_of(circuit, digests) != circuit.identity:
            raise ValueError("the recorded identity is not that of the key")
        return circuit
    except (OSError, KeyError, TypeError, ValueError, MalformedProof) as error:
        raise ProvingError(f"the keys in {folder} are damaged ({error}); remove them: vml cache clear") from error


def identity_of(circuit: Circuit, parameter_digests: list[bytes]) -> bytes:
    """The model identity of a circuit's parts."""
    return model_identity(
        ENGINE_VERSION,
        keccak256(circuit.verifying_key),
        keccak256(circuit.settings),
        srs.setup_id(circuit.tau_g2),
        str(circuit.statement.visibility),
        keccak256(circuit.wrapper),
        parameter_digests,
    )


def _cache_name(
    source: bytes, wrapped: Wrapped, rows: list[dict[str, calibration.Array]], options: SetupOptions, root: Path
) -> str:
    """Digest of everything that decides a key, the set-ups to choose from included."""
    digest = hashlib.sha256()
    for part in (ENGINE_VERSION.encode(), source, wrapped.descriptor, wrapped.onnx):
        digest.update(len(part).to_bytes(8, "big") + part)
    for row in rows:
        for name in sorted(row):
            digest.update(name.encode() + row[name].tobytes())
    if options.srs is not None:
        setups = [srs.inspect_file(options.srs).setup_id]
    else:
        # Once a ceremony's file is imported, keys made under the unsafe set-up are not taken any more.
        setups = sorted({record.setup_id for record in srs.list_files(root) if not record.unsafe})
    digest.update(json.dumps([options.max_error, options.tune, setups]).encode())
    if options.on_chain:
        digest.update(b"on chain")
    return digest.hexdigest()[:40]


def _build(
    source: bytes,
    wrapped: Wrapped,
    rows: list[dict[str, calibration.Array]],
    options: SetupOptions,
    root: Path,
    folder: Path,
) -> None:
    """Tune, lay out, choose the set-up, make the keys and the identity, and publish the folder."""
    limit = options.memory_limit_bytes or preflight.available_memory()
    preflight.require_products(wrapped.products, limit)
    with (
        tempfile.TemporaryDirectory(prefix="vml-ezkl-") as scratch,
        Engine(memory_limit_bytes=limit, time_limit_s=options.time_limit_s, progress=options.progress) as engine,
    ):
        work = Path(scratch)
        model = work / "model.onnx"
        model.write_bytes(wrapped.onnx)
        sample = calibration.make_sample(source, wrapped.inputs, rows, wrapped.salt_lanes, work)
        base = RunArgs().seen(options.visibility)
        columns = ON_CHAIN_COLUMNS if options.on_chain else MAX_COLUMNS
        tuner = Tuner(engine, model, sample, base, work, columns)
        if options.tune:
            tuned = tuner.search(options.max_error, options.progress)
        else:
            tuned = tuner.default(options.max_error)
        preflight.require_memory(tuned.cost, limit)
        settings_file = work / "settings.json"
        settings = engine.call(
            "gen_settings", model=str(model), settings=str(settings_file), run_args=tuned.run_args.to_json()
        )
        record = choose_setup(tuned.run_args.logrows, options.srs, root, options)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with files.folder_atomic(folder) as out:
            engine.call("compile", model=str(model), compiled=str(out / "compiled"), settings=str(settings_file))
            engine.call(
                "setup",
                stage="making keys",
                predicted_s=cost(settings).setup_s,
                compiled=str(out / "compiled"),
                vk=str(out / "vk"),
                pk=str(out / "pk"),
                srs=record.path,
            )
            digests = _parameter_digests(engine, sample.files[0], out, work)
            (out / "settings.json").write_bytes(settings_file.read_bytes())
            (out / "wrapper.json").write_bytes(wrapped.descriptor)
            (out / "tau_g2").write_bytes(srs.read_tau_g2(Path(record.path)))
            _write_meta(out, tuned, record, options, digests)


def _write_meta(out: Path, tuned: Any, record: srs.SetupFile, options: SetupOptions, digests: list[bytes]) -> None:
    """Write what the set-up found, with the identity, as the folder's last file."""
    meta = {
        "visibility": asdict(options.visibility),
        "setup": asdict(record),
        "parameter_digests": [digest.hex() for digest in digests],
        "run_args": tuned.run_args.to_json(),
        "error": tuned.error,
        "allowed_error": tuned.allowed,
        "cost": asdict(tuned.cost),
        "tried": tuned.tried,
    }
    parts = [(out / name).read_bytes() for name in ("wrapper.json", "settings.json", "vk", "tau_g2")]
    statement = Statement.read(parts[0], parts[1], options.visibility)
    circuit = Circuit(out, bytes(32), parts[0], parts[1], parts[2], parts[3], statement, record, meta)
    meta["identity"] = identity_of(circuit, digests).hex()
    (out / "meta.json").write_text(json.dumps(meta, indent=1))


def _parameter_digests(engine: Engine, row: str, out: Path, work: Path) -> list[bytes]:
    """Poseidon digests of hidden parameters, from a run of one sample."""
    run = engine.call("witness", data=row, compiled=str(out / "compiled"), witness=str(work / "digests.wit"))
    processed = run.get("processed_params")
    return [felt_to_word(felt) for felt in processed["poseidon_hash"]] if processed else []


def choose_setup(log_rows: int, given: Path | None, root: Path, options: SetupOptions) -> srs.SetupFile:
    """The structured reference string for a circuit.

    Args:
        log_rows: k of the circuit.
        given: a file the user named, or None.
        root: vml's cache folder.
        options: for progress.

    Raises:
        ProvingError: set-ups were imported, or one was named, and none is large enough: the unsafe one is
            never put in their place.
    """
    if given is not None:
        record = srs.inspect_file(given)
        if record.log_rows < log_rows:
            raise ProvingError(f"{given} serves 2^{record.log_rows} rows, the circuit has 2^{log_rows}")
        return record
    found = srs.find(log_rows, root)
    if found is not None:
        return found
    imported = [record for record in srs.list_files(root) if not record.unsafe]
    if imported:
        largest = max(record.log_rows for record in imported)
        raise ProvingError(
            f"the circuit has 2^{log_rows} rows, the largest imported set-up serves 2^{largest}: "
            "import a larger one (vml srs import)"
        )
    if options.progress:
        options.progress("making the unsafe test set-up", 0.0)
    return srs.make_test_setup(log_rows, root)


def _check(source: bytes, circuit: Circuit, options: SetupOptions) -> None:
    """Make settings and verifying key again from the ONNX file and compare.

    Raises:
        ProvingError: they differ.
        UnsupportedModel: the model is private, so only its owner's salt reproduces it.
    """
    if options.visibility.model == "private":
        raise UnsupportedModel("a private model's identity cannot be recomputed without its salt")
    again = recompute(source, circuit.settings, Path(circuit.setup.path), options)
    if again != circuit.identity:
        raise ProvingError(f"made again, the model is 0x{again.hex()}, but the keys are of 0x{circuit.identity.hex()}")


def recompute(source: bytes, settings: bytes, setup_file: Path, options: SetupOptions) -> bytes:
    """The identity of a model, made from nothing but the ONNX file, a circuit's settings and the set-up.

    Args:
        source: ONNX bytes.
        settings: of the circuit, as a proof carries them; only their run arguments are used.
        setup_file: structured reference string.
        options: visibility and limits.

    Returns:
        32 bytes, equal to the claim's model exactly when the circuit proves this ONNX file.
    """
    wrapped = wrap(source, options.visibility)
    given = json.loads(settings)["run_args"]
    arguments = RunArgs(
        **{
            name: given[name]
            for name in RunArgs().to_json()
            if not name.endswith("visibility") and name != "lookup_range"
        },
        lookup_range=tuple(given["lookup_range"]),
    ).seen(options.visibility)
    limit = options.memory_limit_bytes or preflight.available_memory()
    with (
        tempfile.TemporaryDirectory(prefix="vml-ezkl-") as scratch,
        Engine(memory_limit_bytes=limit, time_limit_s=options.time_limit_s, progress=options.progress) as engine,
    ):
        work = Path(scratch)
        paths = {name: str(work / name) for name in ("model", "settings", "compiled", "vk", "pk")}
        (work / "model").write_bytes(wrapped.onnx)
        again = engine.call(
            "gen_settings", model=paths["model"], settings=paths["settings"], run_args=arguments.to_json()
        )
        # The key that is made from them below is this machine's own, whatever these two say.
        stated = json.loads(settings)
        if encode_settings({**again, **{name: stated.get(name) for name in UNSTEADY}}) == settings:
            (work / "settings").write_bytes(settings)
        engine.call("compile", model=paths["model"], compiled=paths["compiled"], settings=paths["settings"])
        engine.call(
            "setup",
            stage="making keys again",
            compiled=paths["compiled"],
            vk=paths["vk"],
            pk=paths["pk"],
            srs=str(setup_file),
        )
        return model_identity(
            ENGINE_VERSION,
            keccak256((work / "vk").read_bytes()),
            keccak256((work / "settings").read_bytes()),
            srs.setup_id(srs.read_tau_g2(setup_file)),
            str(options.visibility),
            keccak256(wrapped.descriptor),
        )
