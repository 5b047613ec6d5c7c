"""What every backend takes and gives: plain frozen records, no behaviour, no numpy at import time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from vml.claim import Claim

Assurance: TypeAlias = Literal["cryptographic", "economic", "hardware", "recomputed"]
InputVisibility: TypeAlias = Literal["public", "hashed", "private"]
ModelVisibility: TypeAlias = Literal["public", "private"]

ZERO_32 = bytes(32)

PINNED_KEYS = "verifying_keys"
"""Name, in `Environment.pins`, of the digests of verifying keys that a verifier accepts."""

DISPUTE_GAMES = "dispute_games"
"""Name, in `Environment.pins`, of the (chain id, 20-byte address) of dispute games that a verifier accepts."""

DISPUTE_TERMS = "dispute_terms"
"""Name, in `Environment.pins`, of the 32-byte digests of the terms under which it accepts a final assertion."""

TEE_POLICIES = "tee_policies"
"""Name, in `Environment.pins`, of a tuple of accepted appraisal policies, or of their 32-byte ids."""

TEE_ANCHORS = "tee_anchors"
"""Name, in `Environment.pins`, of the roots that evidence may end in; without it those of the vendors."""

TEE_NONCE = "tee_nonce"
"""Name, in `Environment.pins`, of the 32 bytes that the verifier sent to the attester, or `ANY_NONCE`."""

ANY_NONCE = "any"
"""Take evidence that answers somebody else's nonce: it is as old as the key may be."""

TEE_NONCE_SENT_AT = "tee_nonce_sent_at"
"""Name, in `Environment.pins`, of the unix time at which the nonce was sent, for policies with a maximum age."""

TEE_MIN_EPOCH = "tee_min_epoch"
"""Name, in `Environment.pins`, of the lowest epoch of a key that is accepted."""

Progress: TypeAlias = Callable[[str, float], None]
"""Called with a stage name and the fraction of it that is done, from 0.0 to 1.0."""


class ChainView(Protocol):
    """A chain as a verifier reads it: one node's word for the latest state."""

    @property
    def chain_id(self) -> int:
        """EIP-155 chain id."""

    def call(self, to: str, data: bytes) -> bytes:
        """What a contract answers, without a transaction.

        Args:
            to: its address, ``0x`` and 40 hex digits.
            data: calldata.

        Raises:
            ChainError: it reverted, or the node does not answer.
        """


@dataclass(frozen=True)
class Visibility:
    """Who may see what. The output and the context are always public.

    Args:
        input: ``public`` (values in the proof), ``hashed`` (an unsalted digest: guessable, recomputable by
            anyone who knows the input) or ``private`` (a salted digest).
        model: ``public`` or ``private`` (weights behind a salted digest).
    """

    input: InputVisibility = "public"
    model: ModelVisibility = "public"

    def __post_init__(self) -> None:
        if self.input not in ("public", "hashed", "private"):
            raise ValueError(f"input visibility must be public, hashed or private, not {self.input!r}")
        if self.model not in ("public", "private"):
            raise ValueError(f"model visibility must be public or private, not {self.model!r}")

    @classmethod
    def from_private(cls, names: str) -> Visibility:
        """Read the command line's ``--private input,model``.

        Raises:
            ValueError: a name is neither ``input`` nor ``model``.
        """
        fields = {name.strip() for name in names.split(",") if name.strip()}
        unknown = fields - {"input", "model"}
        if unknown:
            raise ValueError(f"cannot make {sorted(unknown)} private; choose from input, model")
        return cls(
            input="private" if "input" in fields else "public",
            model="private" if "model" in fields else "public",
        )

    def __str__(self) -> str:
        return f"input={self.input},model={self.model}"


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do at all, whatever the model.

    Args:
        assurance, semantics, trusts: what every verdict of it says at least.
        inputs, models: how they can be shown or hidden.
        needs_setup: keys rest on a structured reference string that somebody made.
        on_chain: its proofs can be verified by a contract.
        batch: one proof can be about several inputs.
        exact: it proves the exact integer model, so the identity is that model's commitment. An .onnx file alone
            has none: the integers follow from its calibration, too.
        from_source: schemes whose identity an .onnx file does give, in spite of `exact`.
        pinned_key: the identity does not bind the verifying key, so a verifier brings digests of its own
            (`PINNED_KEYS`); a proof's word for it is worth nothing.
        recomputes: a verifier who holds the model (`Environment.model`) runs it again instead of trusting anybody.
    """

    assurance: Assurance
    semantics: str
    trusts: tuple[str, ...]
    inputs: tuple[InputVisibility, ...] = ("public",)
    models: tuple[ModelVisibility, ...] = ("public",)
    needs_setup: bool = False
    on_chain: bool = False
    batch: bool = False
    exact: bool = False
    from_source: tuple[str, ...] = ()
    pinned_key: bool = False
    recomputes: bool = False


@dataclass(frozen=True)
class DisputeEstimate:
    """The longest and dearest dispute about one model, under one profile. Money is in wei.

    Args:
        profile: name of what is assumed of a chain.
        asserter_gas, challenger_gas: of all moves of each side; the challenger's end with the dearest step.
        input_gas: of publishing the input.
        step_gas: of the dearest one-step proof alone.
        window_s: how long a dispute can be opened.
        resolution_s: after so many seconds nothing is open, whatever anybody does.
        asserter_bond, challenger_bond: what each side puts up.
    """

    profile: str
    asserter_gas: int
    challenger_gas: int
    input_gas: int
    step_gas: int
    window_s: int
    resolution_s: int
    asserter_bond: int
    challenger_bond: int


@dataclass(frozen=True)
class Estimate:
    """What proving one model would cost here, predicted before any work.

    Args:
        fits: whether the proof can be made on this machine.
        prove_s: seconds for one proof; None where it cannot be said.
        setup_s: seconds for the set-up, once per model; 0 where there is none.
        memory_bytes: peak resident memory of the heavier of set-up and proof.
        proof_bytes: size of the proof envelope.
        reasons: why it does not fit, or remarks; never empty when ``fits`` is false.
        disputes: the worst dispute under each profile, where a proof can be disputed.
    """

    fits: bool
    prove_s: float | None = None
    setup_s: float | None = None
    memory_bytes: int | None = None
    proof_bytes: int | None = None
    reasons: tuple[str, ...] = ()
    disputes: tuple[DisputeEstimate, ...] = ()


@dataclass(frozen=True)
class Asserting:
    """Where, by whom and under which terms claims are asserted (optimistic). Without a game: nowhere, by nobody.

    Args:
        chain_id: EIP-155 chain id.
        game: 20-byte address of the dispute game.
        asserter: 20-byte address of who puts up the bond.
        terms: 32-byte digest of terms that the game offers.
        nonce: tells apart the assertions that one asserter makes of one claim.
        commit_trace: commit to every operator's output as well, for an assertion with a published trace.
        sign: the asserter's signature, 65 bytes r, s, v, of the EIP-712 message with these 32-byte domain separator
            and struct hash; None leaves the assertion unsigned.
    """

    chain_id: int = 0
    game: bytes = bytes(20)
    asserter: bytes = bytes(20)
    terms: bytes = ZERO_32
    nonce: int = 0
    commit_trace: bool = False
    sign: Callable[[bytes, bytes], bytes] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Attesting:
    """What runs the model and signs for it (tee): an attester, or a simulator that shows nothing. One of the two.

    Args:
        attester: where it listens: ``http://host:port`` or ``unix:/path``.
        simulate: kind of evidence to simulate instead.
        nonce: 32 bytes that the key's evidence has to answer; None leaves them to the attester, or takes random ones.
        timeout_s: how long to wait for the attester.
        seed: whose keys the simulator's are.
        at: unix seconds of the simulator's clock.
        epoch: of the simulated key.
        engine: ``exact`` (the compiled model) or ``float`` (its ONNX file in onnxruntime).
    """

    attester: str | None = None
    simulate: str | None = None
    nonce: bytes | None = None
    timeout_s: float = 600.0
    seed: str = "vml"
    at: int | None = None
    epoch: int = 1
    engine: str = "exact"


@dataclass(frozen=True)
class SetupOptions:
    """How keys are made. A backend ignores nothing: an option it cannot honour raises ``ValueError``.

    Args:
        visibility: what the proofs will hide.
        calibration: sample inputs by input name, float arrays of shape ``[n, *input shape without batch]``;
            None takes the sample stored in the compiled folder.
        max_error: largest absolute error against onnxruntime that a tuned circuit may show on calibration.
        tune: search run arguments; False takes the backend's own default calibration.
        on_chain: tune for a contract that checks the proofs: cheap to check, slower to make.
        srs: file of the structured reference string; None takes an imported one, else the unsafe test one.
        cache_dir: where keys are kept; None takes ``VML_CACHE_DIR`` or the user's cache folder.
        memory_limit_bytes: refuse, or stop, work above this; None takes most of what is free.
        time_limit_s: stop a worker after this many seconds.
        check: make the set-up again from scratch and compare it with what is recorded.
        asserting: where and by whom the claims are asserted (optimistic).
        attesting: what runs the model and signs for it (tee).
        progress: called while the work goes on.
    """

    visibility: Visibility = Visibility()
    calibration: Mapping[str, Any] | None = None
    max_error: float | None = None
    tune: bool = True
    on_chain: bool = False
    srs: Path | None = None
    cache_dir: Path | None = None
    memory_limit_bytes: int | None = None
    time_limit_s: float | None = None
    check: bool = False
    asserting: Asserting | None = None
    attesting: Attesting | None = None
    progress: Progress | None = None


@dataclass(frozen=True)
class Keys:
    """Keys of one model under one backend.

    Args:
        backend: name in the table of backends.
        scheme: scheme name that proofs made with these keys carry.
        model: 32-byte model identity that claims made with these keys carry.
        verifying_key: what a verifier needs; its digest, keccak-256, is inside ``model`` or pinned by the verifier.
        directory: folder that holds the proving key; None where there is none.
        setup_id: 32-byte id of the set-up; None where there is none.
        unsafe_setup: the maker of the set-up could forge proofs.
        compiled: the model itself, where proving needs it besides the directory.
        asserting: where and by whom claims are asserted, where proofs are assertions.
        attesting: what runs the model and signs for it, where proofs are receipts.
    """

    backend: str
    scheme: str
    model: bytes
    verifying_key: bytes
    directory: Path | None = None
    setup_id: bytes | None = None
    unsafe_setup: bool = False
    compiled: Any = field(default=None, repr=False, compare=False)
    asserting: Asserting | None = None
    attesting: Attesting | None = None


@dataclass(frozen=True)
class ClaimExpectation:
    """What the verifier already knows, and the proof must agree with.

    Args:
        model: accepted 32-byte model identities; empty accepts none.
        input: 32-byte input commitment, or None where any input will do.
        output: 32-byte output commitment, or None where any output will do.
        context: 32 bytes; zero expects a proof that is replayable on purpose.
        public_input: float arrays by input name; the backend recomputes the commitment under its semantics. Of a
            batch of n claims the first axis counts n rows.
        public_output: float or integer arrays by output name, likewise.
        salt: 32 bytes that open a hidden input, needed with ``public_input`` when the input is private.
    """

    model: frozenset[bytes]
    input: bytes | None = None
    output: bytes | None = None
    context: bytes = ZERO_32
    public_input: Mapping[str, Any] | None = None
    public_output: Mapping[str, Any] | None = None
    salt: bytes | None = None

    def __post_init__(self) -> None:
        words = [
            *self.model,
            self.context,
            *(w for w in (self.input, self.output, self.salt) if w is not None),
        ]
        if any(not isinstance(word, bytes) or len(word) != 32 for word in words):
            raise ValueError("identities, commitments, context and salt are 32 bytes each")


@dataclass(frozen=True)
class Environment:
    """The world outside, handed in at the edge: nothing below reads clock, network or configuration.

    Args:
        now: unix time in seconds; None where the backend needs no clock.
        rpc: URL of a chain node.
        chain: a chain to read; `vml.verify` makes it of `rpc` where the backend needs one.
        model: the compiled model, loaded and validated, where the verifier holds it.
        pins: further material a backend trusts, by name: `PINNED_KEYS` is a frozenset of 32-byte digests of
            the keys that this verifier accepts; `DISPUTE_GAMES`, `DISPUTE_TERMS` and those of `TEE_…` likewise.
        time_limit_s: most seconds a verification may take.
        memory_limit_bytes: most memory a verification may take.
    """

    now: int | None = None
    rpc: str | None = None
    chain: ChainView | None = None
    model: Any = None
    pins: Mapping[str, Any] = field(default_factory=dict)
    time_limit_s: float = 120.0
    memory_limit_bytes: int = 4 << 30


@dataclass(frozen=True)
class VerifiedClaim:
    """The verdict: what was proved, how strongly, and what it rests on.

    Args:
        claims: the claims that were verified, in the envelope's order.
        backend: name in the table of backends.
        scheme: scheme name of the proof.
        assurance: ``cryptographic``, ``economic``, ``hardware``, or ``recomputed`` where this verifier ran the model.
        semantics: name of the arithmetic the outputs follow.
        security_bits: conservative estimate.
        hidden: what the proof does not reveal, each with how it is hidden.
        revealed: what whoever holds the proof learns or may learn, in plain words.
        trusted: what had to be trusted, in plain words.
        setup_id: 32-byte id of the set-up, or None.
        vk_digest: 32-byte digest of the verifying key, or None.
        engine: software that checked the proof, with its version.
        simulated: evidence came from a simulator.
        unsafe_setup: somebody known could forge proofs under this set-up, or nobody vouches for it.
        final: no dispute can change the result any more.
        remarks: what else was found, in plain words; nothing rests on it.
    """

    claims: tuple[Claim, ...]
    backend: str
    scheme: str
    assurance: Assurance
    semantics: str
    security_bits: int
    hidden: tuple[str, ...] = ()
    revealed: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()
    setup_id: bytes | None = None
    vk_digest: bytes | None = None
    engine: str = ""
    simulated: bool = False
    unsafe_setup: bool = False
    final: bool = True
    remarks: tuple[str, ...] = ()
