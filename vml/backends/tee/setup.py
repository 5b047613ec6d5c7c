"""Set-up: for the exact engine there is none; for floats the runtime is looked up, and with it the model's identity.

The attester makes its key inside; a verifier pins appraisal policies, not keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vml.backends.tee.attester import ABOUT_PATH, ask, read_about
from vml.backends.tee.engines import ENGINES, Program, exact_program
from vml.backends.tee.scheme import NAME
from vml.backends.types import Attesting, Keys, SetupOptions
from vml.errors import ProvingError
from vml.identities import record_identity

if TYPE_CHECKING:
    from vml.model import Model


def setup(model: Model, options: SetupOptions) -> Keys:
    """What `prove` needs: the model, and who runs it and signs. The identity of a float model goes into its folder.

    Raises:
        ValueError: no such engine; a float run, and nobody who runs it.
        ProvingError: the attester does not answer, or holds another model.
        UnsupportedModel, BackendUnavailable: onnxruntime does not take the model, or is not installed.
    """
    attesting = options.attesting or Attesting()
    if attesting.engine not in ENGINES:
        raise ValueError(f"no engine {attesting.engine!r}, only {', '.join(ENGINES)}")
    program = exact_program(model) if attesting.engine == "exact" else _float_program(model, attesting)
    keys = Keys(
        backend=NAME,
        scheme=program.engine.scheme,
        model=program.identity,
        verifying_key=program.description,
        compiled=model,
        attesting=options.attesting,
    )
    if program.engine.described and model.folder is not None:
        record_identity(model.folder, keys)
    return keys


def _float_program(model: Model, attesting: Attesting) -> Program:
    """The model's ONNX file, under the runtime of who is to run it."""
    from vml.backends.tee.session import FloatModel, float_program

    if attesting.attester is None:
        if attesting.simulate is None:
            raise ValueError("which runtime is the attester's to say: --attester URL, or --simulate KIND for this one")
        return FloatModel(model.source).program
    engine, held, description = read_about(ask(attesting.attester, b"{}", attesting.timeout_s, ABOUT_PATH))
    if engine != "float":
        raise ProvingError(f"the attester runs the engine {engine}, not float")
    program = float_program(model.source, description)
    if program.identity != held:
        raise ProvingError(
            f"the attester holds the float model 0x{held.hex()}; this one, under its runtime, is "
            f"0x{program.identity.hex()}"
        )
    return program
