"""Set-up: there is none here. The attester makes its key inside; a verifier pins appraisal policies, not keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vml.backends.tee.scheme import NAME, SCHEME
from vml.backends.types import Keys, SetupOptions

if TYPE_CHECKING:
    from vml.model import Model


def setup(model: Model, options: SetupOptions) -> Keys:
    """What `prove` needs: the model, and who runs it and signs."""
    return Keys(
        backend=NAME,
        scheme=SCHEME,
        model=model.commitment,
        verifying_key=b"",
        compiled=model,
        attesting=options.attesting,
    )
