"""One leased job turned into a proof, with models and keys that a process loads once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from vml import api
from vml.backends import get_backend
from vml.backends.types import Keys, Progress, SetupOptions
from vml.errors import ClaimMismatch
from vml.serve.refusals import InputsNotKept

if TYPE_CHECKING:
    from vml.model import Model
    from vml.proof import Proof
    from vml.serve.records import Lease


class Prover:
    """Models and keys of one process; not thread-safe.

    Args:
        models: compiled folders by name.
        options: of set-ups, by backend.
    """

    def __init__(self, models: Mapping[str, str], options: Mapping[str, SetupOptions]) -> None:
        self._folders, self._options = models, options
        self._models: dict[str, Model] = {}
        self._keys: dict[tuple[str, str], Keys] = {}

    def prove(self, lease: Lease, progress: Progress) -> Proof:
        """Make the proof that a job asks for.

        Args:
            lease: of the job.
            progress: called with a stage and the fraction of it that is done.

        Raises:
            InputsNotKept: there is nothing to start from.
            ClaimMismatch: the model has changed since the answer, or the proof is about another claim.
            VmlError, ValueError: as of `vml.api.prove`.
        """
        if not lease.inputs:
            raise InputsNotKept("the inputs of this claim are not kept any more")
        progress("loading", 0.0)
        model = self._model(lease.model_name)
        if model.commitment != lease.claim.model:
            # The answer was another model's: whoever serves that one has to prove it.
            raise ClaimMismatch("model", lease.claim.model.hex(), model.commitment.hex())
        keys = self._keys_of(lease, model, progress)
        context = lease.claim.context
        proof = api.prove(
            model, dict(lease.inputs), backend=lease.backend, context=context, keys=keys, progress=progress
        )
        _require_about(proof, lease)
        return proof

    def _model(self, name: str) -> Model:
        if name not in self._models:
            self._models[name] = api.load_model(self._folders[name])
        return self._models[name]

    def _keys_of(self, lease: Lease, model: Model, progress: Progress) -> Keys:
        which = lease.model_name, lease.backend
        if which not in self._keys:
            options = replace(self._options.get(lease.backend, SetupOptions()), progress=progress)
            self._keys[which] = api.setup(model, lease.backend, options)
        return self._keys[which]


def _require_about(proof: Proof, lease: Lease) -> None:
    """Nothing is published under a claim that it does not prove."""
    if len(proof.claims) != 1:
        raise ClaimMismatch("claims", 1, len(proof.claims))
    got, answered = proof.claims[0], lease.claim
    exact = get_backend(lease.backend).capabilities().exact
    for field in ("model", "input", "output", "context") if exact else ("context",):
        if getattr(got, field) != getattr(answered, field):
            raise ClaimMismatch(field, getattr(answered, field).hex(), getattr(got, field).hex())
