"""What `vml contract deploy` is asked to deploy: a generated verifier, or a dispute game with a compiled model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vml.chain.client import Chain
    from vml.chain.deployment import Deployment
    from vml.chain.steps import Wishes

Say = Callable[[str], None]


@dataclass(frozen=True)
class Work:
    """What a folder asks for.

    Args:
        run: takes every step on a chain, with the deployment file (None keeps nothing).
        warning: what whoever pays should know before; empty for nothing.
    """

    run: Callable[[Chain, Path | None, Say, Wishes], Deployment]
    warning: str = ""


def is_model(folder: Path) -> bool:
    """Whether a folder is a compiled model's."""
    from vml.model.compiled import GRAPH

    return (folder / GRAPH).is_file()


def deployment_file(folder: Path, resume: Path | None) -> Path:
    """Where a deployment is remembered: in the folder, or beside a compiled model, which compiling again replaces."""
    from vml.chain.deployment import FILE

    if resume is not None:
        return resume
    return folder.with_name(f"{folder.name}.{FILE}") if is_model(folder) else folder / FILE


def work_of(folder: Path, profile: str | None, rehearsal: bool) -> Work:
    """Read a folder.

    Args:
        folder: that `vml contract generate` or `vml compile` wrote.
        profile: of the terms, for a compiled model.
        rehearsal: nothing is kept, so that any terms will do.

    Raises:
        ValueError: no profile for a compiled model, one for something else, or none of that name.
        ChainError, UnsupportedModel: the folder is damaged, or neither.
    """
    return _optimistic(folder, profile, rehearsal) if is_model(folder) else _ezkl(folder, profile)


def _ezkl(folder: Path, profile: str | None) -> Work:
    from vml.chain.deploy import Deployer
    from vml.chain.generate import load

    if profile is not None:
        raise ValueError("--profile is about a compiled model: a generated verifier has no terms")
    generated = load(folder)
    unsafe = generated.manifest["unsafe_setup"]
    return Work(
        lambda chain, file, say, wishes: Deployer(chain, file, say).run(generated, wishes),
        "the set-up is a test one: anybody can forge proofs that this contract accepts" if unsafe else "",
    )


def _optimistic(folder: Path, profile: str | None, rehearsal: bool) -> Work:
    from vml.backends.optimistic.profiles import PROFILES
    from vml.chain.deploy_optimistic import OptimisticDeployer
    from vml.model import Model

    name = profile or ("local" if rehearsal else "")
    if name not in PROFILES:
        raise ValueError(f"give --profile, which terms to accept: {', '.join(PROFILES)}")
    graph = Model.load(folder).graph
    return Work(
        lambda chain, file, say, wishes: OptimisticDeployer(chain, file, say).run(graph, PROFILES[name], wishes),
        "the profile local is for test nodes: nobody has time to dispute" if name == "local" else "",
    )
