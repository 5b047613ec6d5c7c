// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IDisputeGame} from "src/interfaces/IDisputeGame.sol";
import {IEscalation} from "src/interfaces/IEscalation.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {VmlCommitment} from "src/libraries/VmlCommitment.sol";
import {DisputeGame} from "src/optimistic/DisputeGame.sol";
import {GraphRegistry} from "src/optimistic/GraphRegistry.sol";
import {StepVerifier} from "src/optimistic/StepVerifier.sol";
import {Escalations} from "test/Escalations.sol";
import {Test} from "test/Vm.sol";

/// @notice What an asserter has: all of tests/vectors/make_disputes.py's tensors. `big` has 33 leaves, all of them `leaf`
/// but `oddLeaf` at `odd`.
/// @param operator, element, proof what refutes it; nothing of the true one
struct Trace {
    bytes32[5] roots;
    bytes input;
    bytes leaf;
    uint256 odd;
    bytes oddLeaf;
    bytes sum;
    bytes out;
    bytes32 claimedInput;
    bytes32 claimedOutput;
    uint32 operator;
    uint64 element;
    bytes proof;
}

/// @title A game over a tiny model, with what honest people and liars say about it
abstract contract DisputeBench is Test {
    uint32 internal constant BIG = 1;
    uint32 internal constant CONSTANT = 2;
    uint32 internal constant SUM = 3;
    uint32 internal constant OUT = 4;
    uint256 internal constant ROWS = 33;
    uint256 internal constant LIES = 5;
    uint256 internal constant OUTSIDE = 5;

    address internal constant ALICE = address(0xa11ce);
    address internal constant BOB = address(0xb0b);
    address internal constant CAROL = address(0xca401);
    address internal constant MALLORY = address(0x3a1);

    DisputeGame internal game;
    GraphRegistry internal graphs;
    Escalations internal escalations;
    bytes32 internal model;
    IDisputeGame.Terms internal rules;
    bytes32 internal terms;
    /// @dev First the true one.
    Trace[] internal traces;

    function setUp() public virtual {
        string memory json = vm.readFile("../tests/vectors/disputes.json");
        graphs = new GraphRegistry(vm.parseJsonBytes32(json, ".semantics"), 14_000_000);
        escalations = new Escalations();
        game = new DisputeGame(graphs, new StepVerifier(), escalations);
        bytes[] memory descriptors = new bytes[](5);
        for (uint256 i = 0; i < 5; ++i) {
            descriptors[i] = vm.parseJsonBytes(json, string.concat(".descriptors[", digit(i), "]"));
        }
        bytes memory inputs = vm.parseJsonBytes(json, ".input_spec");
        bytes memory outputs = vm.parseJsonBytes(json, ".output_spec");
        model = graphs.open(vm.parseJsonBytes32(json, ".graph_root"), 5, 3, inputs, outputs);
        graphs.append(model, descriptors, new bytes32[](0));
        readTrace(json, ".truth");
        for (uint256 i = 0; i < LIES; ++i) {
            string memory key = string.concat(".lies[", digit(i), "]");
            Trace storage lie = readTrace(json, key);
            lie.operator = uint32(uint256(vm.parseJsonBytes32(json, string.concat(key, ".operator"))));
            lie.element = uint64(uint256(vm.parseJsonBytes32(json, string.concat(key, ".element"))));
            lie.proof = vm.parseJsonBytes(json, string.concat(key, ".proof"));
        }
        rules = IDisputeGame.Terms({
            window: 1000,
            asserterClock: 300,
            challengerClock: 200,
            extension: 20,
            asserterBond: 1001,
            challengerBond: 301,
            slashReward: 400,
            defenceReward: 150,
            requestFee: 90,
            escalatedWindow: 100,
            escalation: keccak256("policy")
        });
        terms = game.offerTerms(rules);
        vm.warp(1_000_000);
    }

    function digit(uint256 i) private pure returns (string memory) {
        return string(abi.encodePacked(bytes1(uint8(48 + i))));
    }

    function readTrace(string memory json, string memory key) private returns (Trace storage trace) {
        trace = traces.push();
        bytes memory roots = vm.parseJsonBytes(json, string.concat(key, ".roots"));
        for (uint256 i = 0; i < 5; ++i) {
            bytes32 root;
            assembly ("memory-safe") {
                root := mload(add(add(roots, 32), mul(32, i)))
            }
            trace.roots[i] = root;
        }
        trace.input = vm.parseJsonBytes(json, string.concat(key, ".input"));
        trace.leaf = vm.parseJsonBytes(json, string.concat(key, ".leaf"));
        trace.odd = uint256(vm.parseJsonBytes32(json, string.concat(key, ".odd")));
        trace.oddLeaf = vm.parseJsonBytes(json, string.concat(key, ".odd_leaf"));
        trace.sum = vm.parseJsonBytes(json, string.concat(key, ".sum"));
        trace.out = vm.parseJsonBytes(json, string.concat(key, ".out"));
        trace.claimedInput = vm.parseJsonBytes32(json, string.concat(key, ".claimed_input"));
        trace.claimedOutput = vm.parseJsonBytes32(json, string.concat(key, ".claimed_output"));
    }

    // ---- what somebody says ----------------------------------------------------------------------------------------

    function assertionOf(uint256 which, address asserter, bytes32 context, bool published, uint256 nonce)
        internal
        view
        returns (IDisputeGame.Assertion memory)
    {
        Trace storage trace = traces[which];
        VmlClaim.Claim memory claim = VmlClaim.Claim(model, trace.claimedInput, trace.claimedOutput, context);
        return IDisputeGame.Assertion(claim, asserter, terms, published ? listDigest(which) : bytes32(0), nonce);
    }

    function inputOf(uint256 which) internal view returns (bytes[] memory input) {
        input = new bytes[](1);
        input[0] = traces[which].input;
    }

    function asserted(IDisputeGame.Assertion memory assertion, bytes[] memory input) internal returns (bytes32 id) {
        vm.deal(assertion.asserter, assertion.asserter.balance + rules.asserterBond);
        vm.prank(assertion.asserter);
        return game.assertClaim{value: rules.asserterBond}(assertion, input);
    }

    function challenged(IDisputeGame.Assertion memory assertion, address by, bytes32 salt)
        internal
        returns (bytes32 dispute)
    {
        vm.deal(by, by.balance + rules.challengerBond);
        vm.prank(by);
        return game.challenge{value: rules.challengerBond}(assertion, salt);
    }

    // ---- lists -----------------------------------------------------------------------------------------------------

    function list(uint256 which) internal view returns (bytes32[] memory roots) {
        roots = new bytes32[](5);
        for (uint256 i = 0; i < 5; ++i) {
            roots[i] = traces[which].roots[i];
        }
    }

    function listDigest(uint256 which) internal view returns (bytes32) {
        bytes32[] memory row = padded(list(which), 8);
        return VmlCommitment.traceDigest(5, up(row, 3)[0]);
    }

    function rootOf(uint256 which, uint256 operator) internal view returns (IDisputeGame.Root memory) {
        return IDisputeGame.Root(traces[which].roots[operator], pathIn(padded(list(which), 8), operator));
    }

    /// @dev What the step of an operator reads.
    function operandsOf(uint256 which, uint32 operator) internal view returns (IDisputeGame.Root[] memory operands) {
        if (operator == BIG || operator == SUM) {
            operands = new IDisputeGame.Root[](1);
            operands[0] = rootOf(which, operator == BIG ? 0 : BIG);
        } else if (operator == OUT) {
            operands = new IDisputeGame.Root[](2);
            operands[0] = rootOf(which, SUM);
            operands[1] = rootOf(which, CONSTANT);
        }
    }

    // ---- tensors ---------------------------------------------------------------------------------------------------

    function positionAtTop(uint32 operator) internal pure returns (IDisputeGame.Position memory) {
        return IDisputeGame.Position(operator, operator == BIG ? 6 : 0, 0);
    }

    function below(IDisputeGame.Position memory at, uint256 child)
        internal
        pure
        returns (IDisputeGame.Position memory)
    {
        uint8 levels = at.height < 5 ? at.height : 5;
        return IDisputeGame.Position(at.operator, at.height - levels, uint40((uint256(at.index) << levels) + child));
    }

    /// @dev The bytes of a leaf, which are 1024 of `big` and all of the others.
    function leafOf(uint256 which, uint32 operator, uint256 index) internal view returns (bytes memory) {
        Trace storage trace = traces[which];
        if (operator == BIG) return index == trace.odd ? trace.oddLeaf : trace.leaf;
        if (operator == 0) return trace.input;
        return operator == SUM ? trace.sum : trace.out;
    }

    /// @dev The nodes of `big` at a height.
    function nodesOf(uint256 which, uint8 height) internal view returns (bytes32[] memory) {
        bytes32[] memory row = new bytes32[](64);
        bytes32 common = leafDigest(traces[which].leaf);
        for (uint256 i = 0; i < 64; ++i) {
            row[i] = i >= ROWS ? VmlCommitment.EMPTY : common;
        }
        if (traces[which].odd < ROWS) row[traces[which].odd] = leafDigest(traces[which].oddLeaf);
        return up(row, height);
    }

    function childrenOf(uint256 which, IDisputeGame.Position memory at) internal view returns (bytes32[] memory part) {
        uint8 levels = at.height < 5 ? at.height : 5;
        bytes32[] memory row = nodesOf(which, at.height - levels);
        part = new bytes32[](1 << levels);
        for (uint256 i = 0; i < part.length; ++i) {
            part[i] = row[(uint256(at.index) << levels) + i];
        }
    }

    function leafDigest(bytes memory data) internal pure returns (bytes32) {
        return keccak256(bytes.concat(hex"00", data, new bytes(1024 - data.length)));
    }

    function padded(bytes32[] memory row, uint256 count) internal pure returns (bytes32[] memory full) {
        full = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            full[i] = i < row.length ? row[i] : VmlCommitment.EMPTY;
        }
    }

    /// @dev The nodes so many levels above a full row.
    function up(bytes32[] memory row, uint256 levels) internal pure returns (bytes32[] memory) {
        for (; levels > 0; --levels) {
            bytes32[] memory parents = new bytes32[](row.length / 2);
            for (uint256 i = 0; i < parents.length; ++i) {
                parents[i] = VmlCommitment.node(row[2 * i], row[2 * i + 1]);
            }
            row = parents;
        }
        return row;
    }

    /// @dev The siblings of a place up to the root of a full row.
    function pathIn(bytes32[] memory row, uint256 place) internal pure returns (bytes32[] memory path) {
        uint256 depth = 0;
        while (1 << depth < row.length) ++depth;
        path = new bytes32[](depth);
        for (uint256 i = 0; i < depth; ++i) {
            path[i] = row[place ^ 1];
            row = up(row, 1);
            place >>= 1;
        }
    }

    /// @dev What the asserter has to show.
    function askedOf(bytes32 dispute) internal view returns (IDisputeGame.Position memory) {
        IDisputeGame.Dispute memory d = game.disputeOf(dispute);
        return IDisputeGame.Position(d.operator, d.height, d.index);
    }

    // ---- moves -----------------------------------------------------------------------------------------------------

    function picksOperator(IDisputeGame.Assertion memory a, bytes32 dispute, uint256 which, uint32 operator) internal {
        IDisputeGame.Root memory root = rootOf(which, operator);
        address challenger = game.disputeOf(dispute).challenger;
        vm.prank(challenger);
        game.pickOperator(a, dispute, operator, root);
    }

    function picksChild(IDisputeGame.Assertion memory a, bytes32 dispute, uint256 which, uint8 child) internal {
        IDisputeGame.Position memory at = askedOf(dispute);
        bytes32[] memory children = childrenOf(which, at);
        bytes32[] memory path = pathIn(children, child);
        address challenger = game.disputeOf(dispute).challenger;
        vm.prank(challenger);
        game.pickChild(a, dispute, at, child, children[child], path);
    }

    /// @dev The asserter shows what the dispute asks for.
    function reveals(IDisputeGame.Assertion memory a, bytes32 dispute, uint256 which) internal {
        IDisputeGame.Position memory at = askedOf(dispute);
        bool asked = game.disputeOf(dispute).asked;
        // A prank that is not used up outlives the call that reverts: everything is worked out before.
        if (!asked) {
            bytes32[] memory roots = list(which);
            vm.prank(a.asserter);
            game.revealList(a, roots);
        } else if (at.height > 0) {
            bytes32[] memory children = childrenOf(which, at);
            vm.prank(a.asserter);
            game.revealNode(a, dispute, at, children);
        } else {
            bytes memory data = leafOf(which, at.operator, at.index);
            vm.prank(a.asserter);
            game.revealLeaf(a, dispute, at, data);
        }
    }

    /// @dev Anybody sends the step that refutes a lie.
    function proves(IDisputeGame.Assertion memory a, bytes32 dispute, uint256 which) internal {
        IDisputeGame.Position memory at = askedOf(dispute);
        Trace storage lie = traces[which];
        game.proveStep(
            a,
            dispute,
            at,
            leafOf(which, at.operator, at.index),
            lie.element,
            operandsOf(which, lie.operator),
            lie.proof
        );
    }

    /// @dev What would refute a lie, out of somebody's trace.
    function fraudOf(uint256 whose, uint256 lie) internal view returns (IDisputeGame.Fraud memory fraud) {
        Trace storage trace = traces[lie];
        fraud.operator = trace.operator;
        fraud.root = rootOf(whose, trace.operator);
        fraud.element = trace.element;
        fraud.operands = operandsOf(whose, trace.operator);
        fraud.proof = trace.proof;
        if (trace.operator == BIG) {
            fraud.leaf = uint40(trace.odd);
            fraud.path = pathIn(nodesOf(whose, 0), trace.odd);
        }
        fraud.data = leafOf(whose, trace.operator, fraud.leaf);
    }
}
