"""Why the dispute game does not take a move: one class for each way to fail, named like the contract's errors.

A refused move changes nothing. The first line of each class says what is wrong; `details` hold what was expected
and what came.
"""

from __future__ import annotations


class MoveRefused(ValueError):
    """the move is not allowed"""

    def __init__(self, *details: object) -> None:
        self.details = details
        shown = ", ".join(f"0x{d.hex()}" if isinstance(d, bytes) else str(d) for d in details)
        text = (type(self).__doc__ or "").strip()
        super().__init__(f"{text}: {shown}" if shown else text)


class TimeRanBackwards(MoveRefused):
    """the move is older than the state (state's time, move's time)"""


class WrongValue(MoveRefused):
    """the wei sent with the move are not the amount it takes (expected, got)"""


class GraphUnknown(MoveRefused):
    """no model with this commitment is registered"""


class TermsUnknown(MoveRefused):
    """these terms are not offered"""


class AssertionExists(MoveRefused):
    """this assertion has been made already"""


class AssertionUnknown(MoveRefused):
    """there is no such assertion"""


class AssertionDecided(MoveRefused):
    """the assertion has reached its end"""


class AssertionStands(MoveRefused):
    """the assertion is not slashed, so the dispute is not moot"""


class DisputeExists(MoveRefused):
    """this dispute has been opened already"""


class DisputeUnknown(MoveRefused):
    """there is no such dispute"""


class DisputeDecided(MoveRefused):
    """the dispute has reached its end"""


class DisputesOpen(MoveRefused):
    """disputes of this assertion are open (their number)"""


class WindowClosed(MoveRefused):
    """the window for opening disputes has closed (when)"""


class WindowOpen(MoveRefused):
    """the window for opening disputes is open (until)"""


class NotTheAsserter(MoveRefused):
    """only the asserter makes this move"""


class NotTheChallenger(MoveRefused):
    """only the challenger of this dispute makes this move"""


class InputCount(MoveRefused):
    """the model has another number of inputs (expected, got)"""


class TensorSize(MoveRefused):
    """an input's bytes are not as many as its header says (expected, got)"""


class InputMismatch(MoveRefused):
    """these bytes are not the input of the claim (commitment expected, got)"""


class InputKnown(MoveRefused):
    """the input is public already"""


class InputRequestedAlready(MoveRefused):
    """the input has been requested already"""


class InputNotRequested(MoveRefused):
    """nobody has requested the input"""


class InputPending(MoveRefused):
    """the asserter still owes the input (until)"""


class ListKnown(MoveRefused):
    """the operator roots have been revealed already"""


class ListMismatch(MoveRefused):
    """these operator roots are not the ones committed to (expected, got)"""


class ListInconsistent(MoveRefused):
    """the operator roots do not lead from the claimed input to the claimed output (where)"""


class ListConsistent(MoveRefused):
    """the operator roots do lead from the claimed input to the claimed output"""


class TraceNotPublished(MoveRefused):
    """the operator roots are not committed to, so nothing can be proved in one move"""


class NotTheChallengersTurn(MoveRefused):
    """the asserter has not answered yet"""


class AnotherPosition(MoveRefused):
    """the dispute stands at another position (expected, got)"""


class NodeOutside(MoveRefused):
    """the model has no such operator"""


class OperatorGiven(MoveRefused):
    """a constant is fixed by the model and was checked when the roots were revealed"""


class NodeKnown(MoveRefused):
    """this position has been revealed already"""


class ChildrenMalformed(MoveRefused):
    """a reveal has all descendants of 32 bytes, five levels down or at the leaves (expected number)"""


class NodeMismatch(MoveRefused):
    """what the move brings does not hash to what was committed to (expected, got)"""


class PaddingNotEmpty(MoveRefused):
    """a leaf after the tensor's last one is not the empty leaf (child)"""


class LeafMalformed(MoveRefused):
    """the leaf's data are not as long as the tensor's header says (expected bytes, got)"""


class ChildOutside(MoveRefused):
    """the node has no such child"""


class ChildIsPadding(MoveRefused):
    """nothing but padding lies under this child"""


class NotAtALeaf(MoveRefused):
    """the dispute has not come down to a leaf"""


class AtALeaf(MoveRefused):
    """the dispute has come down to a leaf: prove the step"""


class ElementOutside(MoveRefused):
    """the element does not lie in this leaf or tensor"""


class OpeningRejected(MoveRefused):
    """an opening does not belong to the operator roots, or does not come in its order"""


class OpeningMissing(MoveRefused):
    """the step reads an element that was not opened (operand, element)"""


class StepAgrees(MoveRefused):
    """the element is what the operator computes (its value)"""


class ClockRunning(MoveRefused):
    """the side to move still has time (until)"""


class ClockExpired(MoveRefused):
    """the time of this side is over"""


class NotEscalating(MoveRefused):
    """these terms know no stronger proof, or one has been shown"""


class EscalationRefused(MoveRefused):
    """no proof of this claim, of a kind that counts, was shown"""


class RivalUndecided(MoveRefused):
    """another output for the same question has not been decided yet (its assertion)"""


class NothingToWithdraw(MoveRefused):
    """there is no credit"""
