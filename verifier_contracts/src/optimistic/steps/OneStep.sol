// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {VmlCommitment} from "src/libraries/VmlCommitment.sol";
import {Cursor, Descriptor, Node} from "./Descriptor.sol";
import {DotStep} from "./DotStep.sol";
import {ElementSteps} from "./ElementSteps.sol";
import {GatherStep} from "./GatherStep.sol";
import {RowSteps} from "./RowSteps.sol";
import {Step} from "./Step.sol";
import {Leaf, Tensor, TensorLib} from "./Tensor.sol";

/// @title One-step proofs: the one right value of one element of one node (docs/dispute-steps.md)
/// @notice A library: it holds nothing, decides no dispute and trusts its caller for the statement.
library OneStep {
    /// @notice What is trusted.
    /// @param graph root over `count` descriptors.
    /// @param node number of the node, `element` its element in row-major order.
    /// @param operands tensor roots of the node's inputs, in the order of its descriptor.
    struct Statement {
        bytes32 graph;
        uint32 count;
        uint32 node;
        uint64 element;
        bytes32[] operands;
    }

    /// @notice An input of the node: its descriptor with the siblings in the graph's tree, the root of its tensor's
    /// tree, and leaves. Without leaves it is not looked at.
    struct Operand {
        bytes descriptor;
        bytes32[] path;
        bytes32 merkleRoot;
        Leaf[] leaves;
    }

    /// @notice What anyone may bring.
    struct Proof {
        bytes descriptor;
        bytes32[] path;
        Operand[] operands;
    }

    uint8 private constant KIND_CONSTANT = 2;

    error WrongGraph(bytes32 expected, bytes32 got);
    error NodeOutside(uint256 node, uint256 count);
    error NotBefore(uint256 input, uint256 node);
    error OperandCount(uint256 expected, uint256 statement, uint256 proof);
    error WrongOperand(uint256 operand, bytes32 expected, bytes32 got);
    error WrongConstant(uint256 operand, bytes32 expected, bytes32 got);

    /// @notice The right value of the element, given the operands.
    function value(Statement memory statement, Proof calldata proof) internal pure returns (int256) {
        // step 1: the descriptor is the node's.
        if (statement.node >= statement.count) revert NodeOutside(statement.node, statement.count);
        bytes32 root = VmlCommitment.openingRoot(
            VmlCommitment.descriptorLeaf(proof.descriptor),
            statement.node,
            proof.path,
            TensorLib.depthOf(statement.count)
        );
        bytes32 graph = VmlCommitment.graphDigest(statement.count, root);
        if (graph != statement.graph) revert WrongGraph(statement.graph, graph);
        Cursor memory cursor = Cursor(proof.descriptor, 0);
        Node memory node = Descriptor.node(cursor);
        // step 2: the statement and the proof have the node's operands.
        uint256 count = node.inputs.length;
        if (statement.operands.length != count || proof.operands.length != count) {
            revert OperandCount(count, statement.operands.length, proof.operands.length);
        }
        // step 3: the leaves are those of the operands.
        Tensor[] memory operands = new Tensor[](count);
        for (uint256 k = 0; k < count; ++k) {
            if (proof.operands[k].leaves.length == 0) continue;
            checkInput(statement, proof.operands[k], node.inputs[k], root);
            operands[k] = open(proof.operands[k], k, statement.operands[k]);
        }
        // step 4: what the primitive says.
        return dispatch(node.kind, count, Step(cursor, Descriptor.position(node, statement.element), operands));
    }

    /// @notice Reverts unless the operand's descriptor stands in the graph, at the input's place and before the node.
    function checkInput(Statement memory statement, Operand calldata operand, uint256 input, bytes32 root)
        private
        pure
    {
        if (input >= statement.node) revert NotBefore(input, statement.node);
        uint256 depth = TensorLib.depthOf(statement.count);
        VmlCommitment.verifyOpening(root, VmlCommitment.descriptorLeaf(operand.descriptor), input, operand.path, depth);
    }

    /// @notice An operand's leaves, once its root is found to be that of a tensor with its node's header.
    function open(Operand calldata operand, uint256 k, bytes32 expected) private pure returns (Tensor memory) {
        Cursor memory cursor = Cursor(operand.descriptor, 0);
        Node memory node = Descriptor.node(cursor);
        bytes32 got = VmlCommitment.tensorDigest(node.dtype, node.dims, operand.merkleRoot);
        if (got != expected) revert WrongOperand(k, expected, got);
        if (node.kind == KIND_CONSTANT) {
            bytes32 committed = bytes32(Descriptor.unsigned(cursor, 32));
            Descriptor.end(cursor);
            if (committed != expected) revert WrongConstant(k, committed, expected);
        }
        return TensorLib.open(node.itemBytes, node.elements, operand.merkleRoot, operand.leaves);
    }

    /// @notice The table of primitives: kind, number of operands, step.
    function dispatch(uint8 kind, uint256 count, Step memory step) private pure returns (int256) {
        if (kind == 16 && (count == 2 || count == 3)) return DotStep.dot(step);
        if (kind == 17 && (count == 1 || count == 2)) return ElementSteps.rescale(step);
        if (kind == 18 && count == 2) return ElementSteps.lookup(step);
        if (kind == 19 && (count == 1 || count == 2)) return ElementSteps.affine(step);
        if (kind == 20 && count == 2) return ElementSteps.multiply(step);
        if (kind == 21 && count >= 1) return GatherStep.gather(step);
        if (kind == 22 && count == 2) return ElementSteps.take(step);
        if (kind == 23 && count == 1) return RowSteps.reduceSum(step);
        if (kind == 24 && count == 1) return RowSteps.reduceMax(step);
        if (kind == 25 && count == 2) return ElementSteps.less(step);
        if (kind == 26 && count == 2) return ElementSteps.equal(step);
        if (kind == 27 && count == 3) return ElementSteps.select(step);
        if (kind == 28 && count == 1) return RowSteps.argmax(step);
        if (kind == 29 && count == 1) return RowSteps.topk(step);
        if (kind == 30 && count == 2) return ElementSteps.divide(step);
        if (kind == 31 && count == 1) return ElementSteps.isqrt(step);
        revert Descriptor.DescriptorKind(kind, count);
    }
}
