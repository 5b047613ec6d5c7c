"""Proves one run of a circuit: witness, proof, and a check of the own proof before it is handed out."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vml import canonical, files
from vml.backends.ezkl import calibration, engine_files, preflight, srs
from vml.backends.ezkl.circuit import Cost
from vml.backends.ezkl.commitments import context_limbs
from vml.backends.ezkl.payload import Payload
from vml.backends.ezkl.process import Engine, EngineFailed
from vml.backends.ezkl.sample import write_input
from vml.backends.ezkl.setup import Circuit
from vml.backends.ezkl.statement import SALT_LANES, felt_to_word, salt_lanes, scheme_of
from vml.backends.types import Progress
from vml.claim import Claim
from vml.errors import ProvingError
from vml.proof import Proof

OPENINGS = "openings"


@dataclass(frozen=True)
class Opening:
    """What the owner of a hidden input keeps, to open it later.

    Args:
        claim: digest of the claim it belongs to.
        salt: 32 bytes.
    """

    claim: bytes
    salt: bytes


def prove(
    circuit: Circuit,
    inputs: Mapping[str, Any],
    context: bytes,
    *,
    progress: Progress | None = None,
    memory_limit_bytes: int | None = None,
    time_limit_s: float | None = None,
    salt: bytes | None = None,
) -> tuple[Proof, Opening | None]:
    """Prove the model on one input.

    Args:
        circuit: of `vml.backends.ezkl.setup`.
        inputs: by name; arrays of the model's shapes, finite.
        context: 32 bytes the proof is bound to.
        progress: called while it goes on.
        memory_limit_bytes: None takes most of what is free.
        time_limit_s: None sets no limit.
        salt: 32 secret bytes behind a private input; None draws them.

    Returns:
        The proof, and the opening where the input is private. The opening is also written, for the owner's
        eyes only, to ``openings/CLAIM.json`` in the key's folder.

    Raises:
        ValueError: inputs or context are not of the right form.
        OutOfRange: an input is not finite.
        ProvingError: it does not fit, or ezkl failed.
    """
    statement = circuit.statement
    arrays = calibration.check_inputs(statement.inputs, inputs)
    limbs = context_limbs(context)
    private = statement.visibility.input == "private"
    if salt is not None and not private:
        raise ValueError("only a private input takes a salt")
    salt = (salt or secrets.token_bytes(32)) if private else None
    limit = memory_limit_bytes or preflight.available_memory()
    cost = Cost(**circuit.meta["cost"])
    preflight.require_memory(cost, limit)
    setup_file = _setup_file(circuit)
    tensors: list[list[float | int]] = []
    for i, (tensor, scale) in enumerate(zip(statement.inputs, statement.input_scales, strict=True)):
        values = calibration.floats(arrays[tensor.name])
        if salt is not None:
            lanes = salt_lanes(salt, i)
            if len(lanes) != SALT_LANES:
                raise ValueError("a salt gives sixteen lanes")
            values += calibration.lanes_as_input(lanes, scale, tensor.dtype)
        tensors.append(values)
    with (
        tempfile.TemporaryDirectory(prefix="vml-ezkl-") as scratch,
        Engine(memory_limit_bytes=limit, time_limit_s=time_limit_s, progress=progress) as engine,
    ):
        work = Path(scratch)
        data = write_input(work / "input.json", [*tensors, limbs])
        compiled, witness = str(circuit.folder / "compiled"), str(work / "witness.json")
        _witness(engine, data, compiled, witness)
        engine.call(
            "prove",
            stage="proving",
            predicted_s=cost.prove_s,
            witness=witness,
            compiled=compiled,
            pk=str(circuit.folder / "pk"),
            proof=str(work / "proof.json"),
            srs=setup_file,
        )
        snark = json.loads((work / "proof.json").read_bytes())
        payload = Payload(
            circuit.wrapper,
            circuit.settings,
            circuit.verifying_key,
            circuit.tau_g2,
            tuple(felt_to_word(felt) for column in snark["instances"] for felt in column),
            bytes(snark["proof"]),
        )
        if not engine_files.check(engine, payload, work):
            raise ProvingError("ezkl made a proof that does not verify")
    words = payload.instances
    claim = Claim(
        model=circuit.identity,
        input=statement.commit_input(statement.input_words(words)),
        output=statement.commit_output(statement.output_words(words)),
        context=context,
    )
    public = statement.public(words)
    proof = Proof(scheme_of(statement.visibility), (claim,), public, payload.to_bytes())
    opening = None if salt is None else Opening(claim.digest(), salt)
    if opening is not None:
        _keep(circuit.folder, opening)
    return proof, opening


def _setup_file(circuit: Circuit) -> str:
    """The structured reference string the keys were made under; the test one is made again when it is gone.

    Keys may have come from another machine: there the file lay elsewhere, here it is an imported one of the same hash.

    Raises:
        ProvingError: a ceremony's file is gone.
    """
    record, root = circuit.setup, circuit.folder.parent.parent
    if Path(record.path).exists():
        return record.path
    if record.unsafe:
        return srs.make_test_setup(record.log_rows, root).path
    for imported in srs.list_files(root):
        if imported.sha256 == record.sha256 and not imported.unsafe:
            return imported.path
    raise ProvingError(f"the set-up {record.setup_id} is gone from {record.path}: import it again (vml srs import)")


def _witness(engine: Engine, data: str, compiled: str, witness: str) -> None:
    """Run the circuit's arithmetic.

    Raises:
        ProvingError: ezkl refused, most often because a value leaves the range the circuit was tuned for.
    """
    try:
        engine.call("witness", stage="running the model", data=data, compiled=compiled, witness=witness)
    except EngineFailed as failure:
        if failure.kind not in ("error", "panic"):
            raise
        raise ProvingError(
            f"this input cannot be run in the circuit ({failure.message}); a value may leave the range that "
            "calibration met: set up again with calibration rows like this one"
        ) from failure


def _keep(folder: Path, opening: Opening) -> None:
    """Write an opening where only its owner reads it."""
    place = folder / OPENINGS
    place.mkdir(mode=0o700, exist_ok=True)
    os.chmod(place, 0o700)
    value = {"claim": "0x" + opening.claim.hex(), "salt": "0x" + opening.salt.hex()}
    files.write_atomic(place / f"0x{opening.claim.hex()}.json", canonical.encode(value))
