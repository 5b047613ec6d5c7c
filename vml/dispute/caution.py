"""Under which terms a player puts its own money at stake.

Anybody offers any terms, and whoever wrote them may have written them against the others: a fee for the input as high
as the bond, a second for the challenger's answer. So money is put at stake only under terms that satisfy a profile, and
whose amounts and clocks stay near those that the profile itself would give the model; or that the user named.
"""

from __future__ import annotations

from collections.abc import Sequence

from vml.backends.optimistic.profiles import PROFILES, Profile, Worst, check_terms, terms_for, worst_case
from vml.backends.optimistic.records import Assertion, Terms
from vml.chain import artifacts
from vml.chain.client import Chain
from vml.chain.graphs import REGISTRY
from vml.chain.rpc import Unanswered
from vml.chain.steps import abi_address
from vml.dispute.calls import contract_abi
from vml.dispute.library import Library
from vml.dispute.recall import Recent
from vml.errors import ChainError

MULTIPLE = 4
"""How many times the profile's own terms others may ask for."""
TO_CHALLENGE = ("challenger_bond", "request_fee", "defence_reward", "asserter_clock_s", "extension_s")
"""What a challenger may lose, pay, or have locked up, and for how long."""
TO_ASSERT = ("asserter_bond",)


def named(profiles: Sequence[str]) -> tuple[Profile, ...]:
    """Profiles by their names.

    Raises:
        ValueError: there is none of that name.
    """
    for name in profiles:
        if name not in PROFILES:
            raise ValueError(f"a profile is one of {', '.join(PROFILES)}; got {name!r}")
    return tuple(PROFILES[name] for name in profiles)


def objection(
    terms: Terms, profiles: Sequence[Profile], worst: Worst, capped: Sequence[str] = TO_CHALLENGE
) -> str | None:
    """Why terms satisfy none of the profiles; None if they satisfy one.

    Args:
        worst: the longest and dearest dispute about the model.
        capped: fields that may be at most `MULTIPLE` times what the profile's own terms have.
    """
    reasons = [_objection(terms, profile, worst, capped) for profile in profiles]
    if None in reasons:
        return None
    return "; ".join(str(reason) for reason in reasons) or "no profile was given"


def _objection(terms: Terms, profile: Profile, worst: Worst, capped: Sequence[str]) -> str | None:
    try:
        check_terms(terms, profile, worst)
        usual = terms_for(profile, worst)
    except ValueError as error:
        return str(error)
    for name in capped:
        has, most = getattr(terms, name), MULTIPLE * getattr(usual, name)
        if has > most:
            return f"{profile.name}: {name} is {has}, above {most}, {MULTIPLE} times what it should be"
    return None


class Caution:
    """Judges terms for one player.

    Args:
        chain, game: with the game, whose registry knows what the dearest step of a model costs.
        library: the models.
        profiles: names of those of which terms have to satisfy one.
        digests: terms that the user named: good whatever they say.

    Raises:
        ValueError: no such profile.
    """

    def __init__(
        self, chain: Chain, game: str, library: Library, profiles: Sequence[str], digests: frozenset[bytes]
    ) -> None:
        self._chain, self._game, self._library = chain, game, library
        self._profiles, self._digests = named(profiles), digests
        self._found: Recent[tuple[Terms, bytes], str | None] = Recent()
        self._worst: Recent[bytes, Worst] = Recent()

    def against(self, assertion: Assertion) -> str | None:
        """What speaks against having money at stake under an assertion's terms; None if nothing does.

        Args:
            assertion: about a model in the library.

        Raises:
            ChainError: the node does not answer.
        """
        key = assertion.terms, assertion.claim.model
        if key not in self._found:
            try:
                named = key[0].digest() in self._digests
                self._found[key] = None if named else objection(key[0], self._profiles, self.worst(key[1]))
            except Unanswered:
                raise
            except ChainError as error:
                return f"the registry does not know what a step costs: {error}"
        return self._found[key]

    def worst(self, model: bytes) -> Worst:
        """The longest and dearest dispute about a model in the library, by what the game's registry knows of it.

        Raises:
            ChainError: the node does not answer, or the registry does not have the model.
        """
        if model not in self._worst:
            registry = abi_address(self._chain.call(self._game, contract_abi(), "graphs"))
            _, _, step_gas = self._chain.call(registry, artifacts.load(REGISTRY).abi, "graphOf", model)
            self._worst[model] = worst_case(self._library.graph(model), step_gas)
        return self._worst[model]
