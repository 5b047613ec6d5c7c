"""Each refusal of the game, and the errors with which the contracts refuse the same move.

Where a refusal has several, the contract looks closer; where it has none, the move cannot be sent to a contract.
"""

from __future__ import annotations

from vml.backends.optimistic import refusals

OPENINGS = (
    "PathLength",
    "LeafIndex",
    "WrongRoot",
    "WrongOperand",
    "WrongConstant",
    "WrongGraph",
    "LeafOrder",
    "LeafOutside",
    "LeafBytes",
    "OperandCount",
    "BadProof",
)
"""What the libraries say of an opening that does not belong where it is put."""

ESCALATIONS = ("EscalationRefused", "PolicyUnknown", "PolicyRefuses", "ProofTooShort", "InvalidProof", "RouteUnknown")
"""The gate's error, and some of the router's behind it."""

CONTRACT_ERRORS: dict[type[refusals.MoveRefused], tuple[str, ...]] = {
    refusals.TimeRanBackwards: (),
    refusals.WrongValue: ("WrongValue",),
    refusals.GraphUnknown: ("GraphUnknown", "GraphIncomplete"),
    refusals.TermsUnknown: ("TermsUnknown",),
    refusals.AssertionExists: ("AssertionExists",),
    refusals.AssertionUnknown: ("AssertionUnknown",),
    refusals.AssertionDecided: ("AssertionDecided",),
    refusals.AssertionStands: ("AssertionStands",),
    refusals.DisputeExists: ("DisputeExists",),
    refusals.DisputeUnknown: ("DisputeUnknown",),
    refusals.DisputeDecided: ("DisputeDecided",),
    refusals.DisputesOpen: ("DisputesOpen",),
    refusals.WindowClosed: ("WindowClosed",),
    refusals.WindowOpen: ("WindowOpen",),
    refusals.NotTheAsserter: ("NotTheAsserter",),
    refusals.NotTheChallenger: ("NotTheChallenger",),
    refusals.InputCount: ("InputCount",),
    refusals.TensorSize: ("TensorSize",),
    refusals.InputMismatch: ("InputMismatch",),
    refusals.InputKnown: ("InputKnown",),
    refusals.InputRequestedAlready: ("InputRequestedAlready",),
    refusals.InputNotRequested: ("InputNotRequested",),
    refusals.InputPending: ("InputPending",),
    refusals.ListKnown: ("ListKnown",),
    refusals.ListMismatch: ("ListMismatch", "PathLength", "LeafIndex", "NoLeaves"),
    refusals.ListInconsistent: ("ListInconsistent",),
    refusals.ListConsistent: ("ListConsistent",),
    refusals.TraceNotPublished: ("TraceNotPublished",),
    refusals.NotTheChallengersTurn: ("NotTheChallengersTurn",),
    refusals.AnotherPosition: ("AnotherPosition",),
    refusals.NodeOutside: ("NodeOutside",),
    refusals.OperatorGiven: ("OperatorGiven",),
    refusals.NodeKnown: ("NodeKnown",),
    refusals.NodeMismatch: ("NodeMismatch",),
    refusals.ChildrenMalformed: ("ChildrenMalformed",),
    refusals.PaddingNotEmpty: ("PaddingNotEmpty",),
    refusals.LeafMalformed: ("LeafMalformed",),
    refusals.ChildOutside: ("ChildOutside",),
    refusals.ChildIsPadding: ("ChildIsPadding",),
    refusals.NotAtALeaf: ("NotAtALeaf",),
    refusals.AtALeaf: ("AtALeaf",),
    refusals.ElementOutside: ("ElementOutside", "ElementIndex"),
    refusals.OpeningRejected: OPENINGS,
    refusals.OpeningMissing: ("LeafMissing", "PlaceOutside"),
    refusals.StepAgrees: ("StepAgrees",),
    refusals.ClockRunning: ("ClockRunning",),
    refusals.ClockExpired: ("ClockExpired",),
    refusals.NotEscalating: ("NotEscalating",),
    refusals.EscalationRefused: ESCALATIONS,
    refusals.RivalUndecided: ("RivalUndecided",),
    refusals.NothingToWithdraw: ("NothingToWithdraw",),
}

CONTRACT_ONLY = {
    "BadTerms": "the records of the game cannot hold such terms",
    "OperandCount": "the game holds the whole list; who encodes a proof makes the roots",
    "RivalMissing": "the game knows every assertion's output; who settles brings them to the contract",
    "TransferFailed": "the game has no accounts",
}
"""Errors of IDisputeGame that no move of the game can have, and why."""

REASONS = {
    "a wrong element was proved": "WrongElement",
    "the asserter ran out of time": "OutOfTime",
    "the asserter did not publish the input": "InputWithheld",
    "the published roots are inconsistent": "ListInconsistent",
}
"""Why a bond is lost: the game's words, and the contract's (IDisputeGame.Reason)."""
