"""The scheme: the name of every parameter that affects verification, and what rests on it."""

from __future__ import annotations

from vml.model.semantics import SEMANTICS as SEMANTICS

NAME = "optimistic"
SCHEME = "optimistic/1"
SECURITY_BITS = 128
"""Of keccak-256 against collisions; what a bond or a second run is worth is no matter of bits."""

WATCHED = "one honest watcher, who can reach the chain, within the window of the dispute game"
TRUSTS = (WATCHED, "the dispute game's contract", "the node that was asked, and that its chain is not reorganised")
"""What a final assertion rests on."""

TRUSTS_RECOMPUTED = ("nobody but this machine, which ran the model again",)
"""What a verdict rests on whose verifier held the model."""

REVEALED = (
    "input and output: their values are in the bundle",
    "names, shapes and scales of inputs and outputs are in the bundle",
    "the model: whoever watches needs all of it, weights and graph",
)
"""What whoever holds a bundle learns or may learn."""

WHY_PUBLIC = (
    "an optimistic claim stands because anybody can run the model again and dispute it, and who challenges needs the "
    "model, the input and the output"
)
