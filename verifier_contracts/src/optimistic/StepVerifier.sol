// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IDisputeGame} from "src/interfaces/IDisputeGame.sol";
import {IStepVerifier} from "src/interfaces/IStepVerifier.sol";
import {Shapes} from "src/optimistic/Shapes.sol";
import {Cursor, Descriptor, Node} from "src/optimistic/steps/Descriptor.sol";
import {OneStep} from "src/optimistic/steps/OneStep.sol";

/// @title One-step proofs for the dispute game, as vml/backends/optimistic/step.py
contract StepVerifier is IStepVerifier {
    uint8 private constant KIND_INPUT = 1;

    /// @inheritdoc IStepVerifier
    function requireWrong(
        Element calldata element,
        bytes calldata descriptor,
        IDisputeGame.Root[] calldata operands,
        bytes calldata proof
    ) external pure {
        Cursor memory cursor = Cursor(descriptor, 0);
        Node memory node = Descriptor.node(cursor);
        if (node.kind == KIND_INPUT) {
            cursor.at = 3 + 8 * node.dims.length;
            (int256 low, int256 high) = (Descriptor.signed(cursor), Descriptor.signed(cursor));
            if (low <= element.value && element.value <= high) revert IDisputeGame.StepAgrees(element.value);
            return;
        }
        OneStep.Statement memory statement = OneStep.Statement(
            element.graph, element.count, element.operator, element.index, roots(element, node, operands)
        );
        int256 value = OneStep.value(statement, decode(proof));
        if (value == element.value) revert IDisputeGame.StepAgrees(value);
    }

    /// @dev The operands' roots, found in the list. A root of zero says that the operand is not read: it is no tensor's,
    /// so that no leaf opens under it.
    function roots(Element calldata element, Node memory node, IDisputeGame.Root[] calldata operands)
        private
        pure
        returns (bytes32[] memory result)
    {
        uint256 count = node.inputs.length;
        if (operands.length != count) revert IDisputeGame.OperandCount(count, operands.length);
        result = new bytes32[](count);
        for (uint256 k = 0; k < count; ++k) {
            if (operands[k].root == 0) continue;
            Shapes.requireListed(element.list, element.count, node.inputs[k], operands[k]);
            result[k] = operands[k].root;
        }
    }

    /// @dev The struct begins after the word that says where it begins. Every access to it is checked against the end of
    /// calldata, which is the end of `proof`: nothing is copied, and nothing else lies behind it.
    function decode(bytes calldata proof) private pure returns (OneStep.Proof calldata decoded) {
        if (proof.length < 32 || uint256(bytes32(proof[:32])) != 32) revert BadProof();
        assembly ("memory-safe") {
            decoded := add(proof.offset, 32)
        }
    }
}
