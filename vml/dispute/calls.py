"""A move as a call of the contract: function, arguments, value.

The contract keeps digests of lists and nodes, so its moves bring Merkle paths, and an assertion's fields, which are
hashed again to its name. All of that is made here from the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from vml.backends.optimistic import moves
from vml.backends.optimistic.records import Assertion, Opening, Position, Status, question_id
from vml.chain import abi, artifacts
from vml.claim import checksum_address
from vml.dispute.ledger import ZERO, Ledger
from vml.keccak import keccak256
from vml.merkle import EMPTY, Tree, graph_tree, trace_tree
from vml.model.graph import Graph
from vml.model.onestep import LeafOpening, OperandOpening, StepProof

CONTRACT = "DisputeGame"
PROOF_TYPE = "(bytes,bytes32[],(bytes,bytes32[],bytes32,(uint64,bytes,bytes32[])[])[])"
"""ABI type of the contract's OneStep.Proof."""
UNREAD = OperandOpening(b"", (), ZERO, ())


@dataclass(frozen=True)
class Call:
    """A call of the contract.

    Args:
        name: of the function; `arguments` as the ABI encoder takes them.
        value: wei to send along.
    """

    name: str
    arguments: tuple[Any, ...]
    value: int = 0

    def data(self) -> bytes:
        """Calldata."""
        return abi.encode_call(contract_abi(), self.name, self.arguments)


def contract_abi() -> abi.Abi:
    """The contract's ABI, as it ships."""
    return artifacts.load(CONTRACT).abi


def call(ledger: Ledger, move: moves.Move, graph: Graph | None = None, sender: bytes | None = None) -> Call:
    """What a move is on the chain.

    Args:
        ledger: before the move.
        move: any but Escalate, which brings a proof that no state holds.
        graph: of the assertion's model; only proofs of a wrong element need it.
        sender: who moves; only Assert needs it.

    Raises:
        KeyError: the ledger has no such assertion, dispute or terms.
        ValueError: the move lacks what its call needs.
    """
    match move:
        case moves.Assert():
            if sender is None:
                raise ValueError("an assertion has an asserter")
            whole = _tuple(move, checksum_address(sender))
            return Call("assertClaim", (whole, list(move.input or ())), ledger.terms[move.terms].asserter_bond)
        case moves.StoreInput():
            return Call("storeInput", (move.model, list(move.data)))
        case moves.Settle():
            return _settle(ledger, move)
        case moves.Withdraw():
            return Call("withdraw", ())
        case moves.Escalate():
            raise ValueError("an escalation brings a proof, which is not part of the game's state")
        case (
            moves.PickOperator()
            | moves.RevealNode()
            | moves.PickChild()
            | moves.RevealLeaf()
            | moves.ProveStep()
            | moves.ClaimTimeout()
            | moves.CloseMoot()
        ):
            assertion = ledger.state.assertions[ledger.state.disputes[move.dispute].assertion]
            return _in_dispute(assertion, whole_assertion(ledger, assertion.id), move, graph)
        case _:
            return _about_assertion(ledger, move, graph)


def whole_assertion(ledger: Ledger, key: bytes) -> tuple[Any, ...]:
    """All that an assertion says, as every move about it brings it again."""
    a = ledger.state.assertions[key]
    said = moves.Assert(a.claim, a.terms.digest(), ledger.nonces[key], a.trace)
    return _tuple(said, checksum_address(a.asserter))


def rivals(ledger: Ledger, key: bytes, limit: int) -> list[bytes]:
    """The assertions that a call of settle has to bring: newest first, from where the last call stopped."""
    state, assertion = ledger.state, ledger.state.assertions[key]
    order = state.questions[question_id(assertion.claim, assertion.terms.digest())][::-1]
    first = 0 if assertion.cursor is None else order.index(assertion.cursor)
    found = [state.assertions[other] for other in order[first : first + limit] if other != key]
    return [
        other.id for other in found if other.opened_at <= assertion.closes_at and other.status is not Status.SLASHED
    ]


def step_proof(graph: Graph, operator: int, openings: Sequence[Opening]) -> bytes:
    """The contract's proof of one step, from the leaves that it reads; nothing for an input, which has no step."""
    node = graph.nodes[operator]
    if node.primitive == "input":
        return b""
    descriptors, tree = _descriptors(graph)
    operands = []
    for number, ref in enumerate(node.inputs):
        mine = sorted((o for o in openings if o.operand == number), key=lambda opening: opening.leaf)
        leaves = tuple(LeafOpening(o.leaf, o.data, o.path) for o in mine)
        path = tuple(tree.open(ref))
        operands.append(OperandOpening(descriptors[ref], path, mine[0].root, leaves) if mine else UNREAD)
    return encode_proof(StepProof(descriptors[operator], tuple(tree.open(operator)), tuple(operands)))


def encode_proof(proof: StepProof) -> bytes:
    """abi.encode(OneStep.Proof)."""
    operands = [
        (o.descriptor, list(o.path), o.merkle_root, [(leaf.index, leaf.data, list(leaf.path)) for leaf in o.leaves])
        for o in proof.operands
    ]
    return abi.encode([PROOF_TYPE], [(proof.descriptor, list(proof.path), operands)])


# ---- within ----------------------------------------------------------------------------------------------------------


def _tuple(said: moves.Assert, asserter: str) -> tuple[Any, ...]:
    c = said.claim
    return (c.model, c.input, c.output, c.context), asserter, said.terms, said.trace or ZERO, said.nonce


def _about_assertion(ledger: Ledger, move: Any, graph: Graph | None) -> Call:
    assertion = ledger.state.assertions[move.assertion]
    whole, bond = whole_assertion(ledger, move.assertion), assertion.terms.challenger_bond
    match move:
        case moves.RequestInput():
            return Call("requestInput", (whole,), bond)
        case moves.RevealInput():
            return Call("revealInput", (whole, list(move.input)))
        case moves.ClaimInputTimeout():
            return Call("claimInputTimeout", (whole,))
        case moves.Challenge():
            return Call("challenge", (whole, move.salt), bond)
        case moves.RevealList():
            return Call("revealList", (whole, list(move.roots)))
        case moves.ProveList():
            return Call("proveList", (whole, list(move.roots)))
        case moves.ProveFraud():
            return _fraud(whole, move, graph)
        case _:
            raise ValueError(f"{move} is no move")


def _in_dispute(assertion: Assertion, whole: tuple[Any, ...], move: Any, graph: Graph | None) -> Call:
    match move:
        case moves.PickOperator():
            root = move.root, _list_tree(_list(assertion)).open(move.operator)
            return Call("pickOperator", (whole, move.dispute, move.operator, root))
        case moves.RevealNode():
            return Call("revealNode", (whole, move.dispute, _position(move.position), list(move.children)))
        case moves.PickChild():
            path = Tree(assertion.reveals[move.position].content, EMPTY).open(move.child)
            arguments = whole, move.dispute, _position(move.position), move.child, move.digest, path
            return Call("pickChild", arguments)
        case moves.RevealLeaf():
            return Call("revealLeaf", (whole, move.dispute, _position(move.position), move.data))
        case moves.ProveStep():
            operator = move.position.operator
            operands, proof = _step(_list(assertion), graph, operator, move.openings)
            place = _position(move.position)
            return Call("proveStep", (whole, move.dispute, place, move.data, move.element, operands, proof))
        case moves.ClaimTimeout():
            return Call("claimTimeout", (whole, move.dispute))
        case moves.CloseMoot():
            return Call("closeMoot", (whole, move.dispute))
        case _:
            raise ValueError(f"{move} is no move in a dispute")


def _fraud(whole: tuple[Any, ...], move: moves.ProveFraud, graph: Graph | None) -> Call:
    operands, proof = _step(move.roots, graph, move.operator, move.openings)
    out = move.output
    fraud = (
        move.operator,
        (move.root, _list_tree(tuple(move.roots)).open(move.operator)),
        out.leaf,
        out.data,
        list(out.path),
        move.element,
        operands,
        proof,
    )
    return Call("proveFraud", (whole, fraud))


def _settle(ledger: Ledger, move: moves.Settle) -> Call:
    others = [whole_assertion(ledger, key) for key in rivals(ledger, move.assertion, move.limit)]
    return Call("settle", (whole_assertion(ledger, move.assertion), move.limit, others))


def _step(
    roots: Sequence[bytes], graph: Graph | None, operator: int, openings: Sequence[Opening]
) -> tuple[list[tuple[bytes, list[bytes]]], bytes]:
    """The roots of what a step reads, and its proof."""
    if graph is None:
        raise ValueError("a step is proved with the model's graph")
    node, read = graph.nodes[operator], {opening.operand for opening in openings}
    if node.primitive == "input":
        return [], b""
    shown = [_roots(roots, [ref])[0] if number in read else (ZERO, []) for number, ref in enumerate(node.inputs)]
    return shown, step_proof(graph, operator, openings)


def _list(assertion: Assertion) -> tuple[bytes, ...]:
    if assertion.roots is None:
        raise ValueError("the list of operator roots has not been revealed")
    return assertion.roots


def _roots(roots: Sequence[bytes], chosen: Sequence[int]) -> list[tuple[bytes, list[bytes]]]:
    """Roots of the list, each with its siblings."""
    tree = _list_tree(tuple(roots))
    return [(roots[number], tree.open(number)) for number in chosen]


@lru_cache(maxsize=4)
def _list_tree(roots: tuple[bytes, ...]) -> Tree:
    return trace_tree(roots)


_KEPT: dict[bytes, tuple[list[bytes], Tree]] = {}


def _descriptors(graph: Graph) -> tuple[list[bytes], Tree]:
    """A graph's descriptors and their tree; the last graph's are kept."""
    if graph.commitment not in _KEPT:
        rows = [node.encode() for node in graph.nodes]
        _KEPT.clear()
        _KEPT[graph.commitment] = rows, graph_tree(rows)
    return _KEPT[graph.commitment]


def _position(position: Position) -> tuple[int, int, int]:
    return position.operator, position.height, position.index


def move_id(made: Call, epoch: bytes = b"") -> bytes:
    """What a move is called here: the same move again has the same name, unless time has gone on between them.

    Args:
        made: the call.
        epoch: tells apart moves that may be made again as they are, such as withdrawals.
    """
    return keccak256(made.data() + made.value.to_bytes(32, "big") + epoch)
