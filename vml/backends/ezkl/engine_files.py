"""Hands a payload to ezkl as the files it reads, and asks whether the proof in it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from vml.backends.ezkl import srs
from vml.backends.ezkl.commitments import WORD
from vml.backends.ezkl.payload import Payload
from vml.backends.ezkl.statement import word_to_felt

if TYPE_CHECKING:
    from vml.backends.ezkl.process import Engine


def check(engine: Engine, payload: Payload, folder: Path) -> tuple[bool, bool]:
    """Ask ezkl about a proof, and about the same proof without its last word.

    ezkl reads a proof from the front and does not look at what comes after it. A proof that still holds
    without its last word therefore carries bytes that nothing checks.

    Args:
        engine: a running ezkl.
        payload: strictly decoded.
        folder: for scratch files.

    Returns:
        Whether the proof holds, and whether the shorter one does: (True, False) for a proof without surplus.
    """
    (folder / "verify-settings.json").write_bytes(payload.settings)
    (folder / "verify.vk").write_bytes(payload.verifying_key)
    (folder / "verify.srs").write_bytes(srs.verifier_file(payload.tau_g2))
    instances = [[word_to_felt(word) for word in payload.instances]]
    for name, proof in (("whole", payload.proof), ("shorter", payload.proof[:-WORD])):
        (folder / f"{name}.json").write_text(json.dumps({"instances": instances, "proof": list(proof)}))
    whole, shorter = engine.call(
        "verify_exact",
        proof=str(folder / "whole.json"),
        shorter=str(folder / "shorter.json"),
        settings=str(folder / "verify-settings.json"),
        vk=str(folder / "verify.vk"),
        srs=str(folder / "verify.srs"),
    )
    return bool(whole), bool(shorter)
