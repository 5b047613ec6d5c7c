"""Set-up: there is none. Claims name the model by its commitment, and assertions have no keys but the signer's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vml.backends.optimistic.scheme import NAME, SCHEME
from vml.backends.types import Asserting, Keys, SetupOptions

if TYPE_CHECKING:
    from vml.model import Model


def setup(model: Model, options: SetupOptions) -> Keys:
    """What `prove` needs: the model, and where its claims are asserted."""
    return Keys(
        backend=NAME,
        scheme=SCHEME,
        model=model.commitment,
        verifying_key=b"",
        compiled=model,
        asserting=options.asserting or Asserting(),
    )
