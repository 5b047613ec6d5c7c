"""What processes on the nodes answer, read as what anybody may have sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vml import errors
from vml.errors import ProvingError, VmlError
from vml.ray.holder import Failure

NO_ANSWER = (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError)
"""What reading something else raises."""

LONGEST = 255
"""Characters of a name or a stage."""


@dataclass(frozen=True)
class Ended:
    """How a task ended: with a proof that nobody has checked, or with an error.

    Args:
        id: the task's.
        node: id of the node that did it; empty where that is not known.
        seconds: that the node says it took.
        proof, opening: bytes; empty with an error.
    """

    id: str
    node: str
    seconds: float = 0.0
    proof: bytes = b""
    opening: bytes = b""
    error: Exception | None = None


def read(id: str, node: str, answer: Any, *, with_proof: bool = True) -> Ended:
    """What a process answered, whatever it is: a lying node must not end anything but its own task.

    Args:
        id: of the task.
        node: where it is known already.
        answer: see `vml.ray.holder.KeyHolder`.
        with_proof: false for the answer of a process that has only loaded its keys.
    """
    try:
        node = str(answer["node"])[:LONGEST]
        if answer["failure"] is not None:
            name, message = answer["failure"]
            return Ended(id, node, error=rebuilt((str(name), str(message))))
        if not with_proof:
            return Ended(id, node)
        proof, opening = answer["proof"], answer["opening"]
        if not isinstance(proof, bytes) or not isinstance(opening, bytes):
            raise TypeError("bytes are expected")
        return Ended(id, node, float(answer["seconds"]), proof, opening)
    except NO_ANSWER as error:
        return Ended(id, node, error=ProvingError(f"a node sent no answer of a process: {type(error).__name__}"))


def rebuilt(failure: Failure) -> Exception:
    """An error that a node reported, as the class of the same name where that takes nothing but a message."""
    name, message = failure
    plain: dict[str, type[Exception]] = {"ValueError": ValueError, "TypeError": TypeError}
    for known in ("BackendUnavailable", "UnsupportedModel", "ProvingError"):
        plain[known] = getattr(errors, known)
    if name in plain:
        return plain[name](message)
    found = getattr(errors, name, None)
    known_to_vml = isinstance(found, type) and issubclass(found, VmlError)
    return ProvingError(message if known_to_vml else f"{name}: {message}")
