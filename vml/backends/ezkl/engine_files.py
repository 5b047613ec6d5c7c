"""Hands a payload to ezkl as the files it reads, and asks whether the proof in it holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vml.backends.ezkl import srs
from vml.backends.ezkl.commitments import WORD
from vml.backends.ezkl.payload import Payload
from vml.backends.ezkl.statement import word_to_felt

if TYPE_CHECKING:
    from vml.backends.ezkl.process import Engine


def check(engine: Engine, payload: Payload, folder: Path) -> bool:
    """Ask ezkl about a proof.

    Args:
        engine: a running ezkl.
        payload: strictly decoded.
        folder: for scratch files.

    Returns:
        Whether the proof holds; what may follow it is not looked at.
    """
    return _ask(engine, payload, folder, (payload.proof,))[0]


def check_exact(engine: Engine, payload: Payload, folder: Path) -> tuple[bool, bool]:
    """Ask ezkl about a proof, and about the same proof without its last word.

    ezkl reads a proof from the front and does not look at what comes after it. A proof that still holds
    without its last word therefore carries bytes that nothing checks.

    Args:
        engine, payload, folder: as for `check`.

    Returns:
        Whether the proof holds, and whether the shorter one does: (True, False) for a proof without surplus.
    """
    whole, shorter = _ask(engine, payload, folder, (payload.proof, payload.proof[:-WORD]))
    return whole, shorter


def _ask(engine: Engine, payload: Payload, folder: Path, proofs: Sequence[bytes]) -> list[bool]:
    (folder / "verify-settings.json").write_bytes(payload.settings)
    (folder / "verify.vk").write_bytes(payload.verifying_key)
    (folder / "verify.srs").write_bytes(srs.verifier_file(payload.tau_g2))
    instances = [[word_to_felt(word) for word in payload.instances]]
    paths = []
    for i, proof in enumerate(proofs):
        path = folder / f"verify-{i}.json"
        path.write_text(json.dumps({"instances": instances, "proof": list(proof)}))
        paths.append(str(path))
    answers = engine.call(
        "verify",
        proofs=paths,
        settings=str(folder / "verify-settings.json"),
        vk=str(folder / "verify.vk"),
        srs=str(folder / "verify.srs"),
    )
    return [answer is True for answer in answers]
