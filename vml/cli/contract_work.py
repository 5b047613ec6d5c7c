"""What `vml contract deploy` is asked to deploy: a generated verifier, or what a compiled model needs."""

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


@dataclass(frozen=True)
class Receipts:
    """Which attested keys a model's owner accepts, as options say it."""

    rules: Path
    modes: str | None
    minimum_epoch: int

    @classmethod
    def of(cls, rules: Path | None, modes: str | None, minimum_epoch: int | None) -> Receipts | None:
        """None where no rules are given.

        Raises:
            ValueError: the other options without rules.
        """
        if rules is not None:
            return cls(rules, modes, minimum_epoch or 0)
        if modes is not None or minimum_epoch is not None:
            raise ValueError("--modes and --min-epoch say which attested keys count: give their --rules")
        return None


def work_of(folder: Path, profile: str | None, receipts: Receipts | None, rehearsal: bool) -> Work:
    """Read a folder.

    Args:
        folder: that `vml contract generate` or `vml compile` wrote.
        profile: of the terms, for a compiled model.
        receipts: which attested keys are accepted for it, instead.
        rehearsal: nothing is kept, so that any terms will do.

    Raises:
        ValueError: neither profile nor rules for a compiled model, one of them for something else, or none such.
        ChainError, UnsupportedModel: the folder is damaged, or neither.
    """
    if receipts is not None:
        if profile is not None:
            raise ValueError("--profile is of a dispute game, --rules of attested keys: one deployment for each")
        return _tee(folder, receipts)
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
        raise ValueError(f"give --profile, which terms to accept: {', '.join(PROFILES)}; or --rules, which keys")
    graph = Model.load(folder).graph
    return Work(
        lambda chain, file, say, wishes: OptimisticDeployer(chain, file, say).run(graph, PROFILES[name], wishes),
        "the profile local is for test nodes: nobody has time to dispute" if name == "local" else "",
    )


def _tee(folder: Path, receipts: Receipts) -> Work:
    from vml.chain.deploy_tee import TeeDeployer
    from vml.chain.tee_rules import Rules, modes_of
    from vml.model import Model

    if not is_model(folder):
        raise ValueError("--rules is about a compiled model: a generated verifier has no attested keys")
    rules = Rules.load(receipts.rules)
    modes = rules.modes[:1] if receipts.modes is None else modes_of(receipts.modes)
    model, epoch = Model.load(folder).commitment, receipts.minimum_epoch
    return Work(
        lambda chain, file, say, wishes: TeeDeployer(chain, file, say).run(model, rules, modes, epoch, wishes),
        "one attestor alone lets keys in" if rules.threshold == 1 else "",
    )
