"""What an ezkl proof carries besides the claim: strict, and every byte of it is checked.

    payload = lp(wrapper) || lp(settings) || lp(verifying key) || tau G2 (128 bytes)
              || u32 n || n instance words (32 bytes each) || lp(proof)

``wrapper`` and ``settings`` are canonical JSON texts. Their digests, the verifying key's and the point's are
inside the claim's model identity; the proof binds the instances.
"""

from __future__ import annotations

from dataclasses import dataclass

from vml.backends.ezkl.commitments import WORD, lp
from vml.errors import MalformedProof

MAX_TEXT = 4 << 20
MAX_KEY = 32 << 20
MAX_PROOF = 1 << 20
MAX_INSTANCES = 1 << 20
TAU_G2 = 128


@dataclass(frozen=True)
class Payload:
    """The parts of a payload.

    Args:
        wrapper: canonical JSON: what was wrapped around the graph.
        settings: canonical JSON: ezkl's circuit settings.
        verifying_key: as ezkl writes it.
        tau_g2: the set-up's point, 128 bytes.
        instances: 32-byte words.
        proof: Halo2's transcript.
    """

    wrapper: bytes
    settings: bytes
    verifying_key: bytes
    tau_g2: bytes
    instances: tuple[bytes, ...]
    proof: bytes

    def to_bytes(self) -> bytes:
        """Encode."""
        return b"".join(
            (
                lp(self.wrapper),
                lp(self.settings),
                lp(self.verifying_key),
                self.tau_g2,
                len(self.instances).to_bytes(4, "big"),
                *self.instances,
                lp(self.proof),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Payload:
        """Decode; there is one encoding.

        Raises:
            MalformedProof: a length is out of bounds, or bytes are missing or left over.
        """
        reader = _Reader(data)
        wrapper = reader.sized("wrapper", MAX_TEXT)
        settings = reader.sized("settings", MAX_TEXT)
        verifying_key = reader.sized("verifying key", MAX_KEY)
        tau_g2 = reader.take(TAU_G2)
        count = reader.length("instances", MAX_INSTANCES)
        words = reader.take(count * WORD)
        proof = reader.sized("proof", MAX_PROOF)
        reader.end()
        instances = tuple(words[i : i + WORD] for i in range(0, len(words), WORD))
        return cls(wrapper, settings, verifying_key, tau_g2, instances, proof)


class _Reader:
    """Takes bytes from the front and never more than there are."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise MalformedProof(f"the payload ends early: {size} bytes wanted at offset {self._at}")
        self._at += size
        return self._data[self._at - size : self._at]

    def length(self, what: str, bound: int) -> int:
        size = int.from_bytes(self.take(4), "big")
        if size > bound:
            raise MalformedProof(f"{what}: length {size} is above the bound {bound}")
        return size

    def sized(self, what: str, bound: int) -> bytes:
        return self.take(self.length(what, bound))

    def end(self) -> None:
        if self._at != len(self._data):
            raise MalformedProof(f"{len(self._data) - self._at} bytes are left over after the proof")
