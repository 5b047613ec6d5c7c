// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Bound, Facts, StepBound} from "src/optimistic/StepBound.sol";
import {Form, StepCosts} from "src/optimistic/StepCosts.sol";
import {Cursor, Descriptor, Node} from "src/optimistic/steps/Descriptor.sol";
import {TensorLib} from "src/optimistic/steps/Tensor.sol";

/// @title Opens the bound of a step to tests
contract StepBounds {
    /// @notice The bound of one node and the gas of its transaction, without what a registry checks besides.
    function bound(bytes[] calldata descriptors, uint256 number) external pure returns (Bound memory, uint256) {
        Cursor memory cursor = Cursor(descriptors[number], 0);
        Node memory node = Descriptor.node(cursor);
        Facts[] memory operands = new Facts[](node.inputs.length);
        for (uint256 k = 0; k < operands.length; ++k) {
            bytes memory descriptor = descriptors[node.inputs[k]];
            Node memory operand = Descriptor.node(Cursor(descriptor, 0));
            operands[k] = Facts(operand.itemBytes, operand.elements, descriptor.length);
        }
        uint256 depth = TensorLib.depthOf(descriptors.length);
        Bound memory result = StepCosts.dearest(node.kind, Form(cursor, number, node.dims, depth, operands));
        return (result, StepBound.transactionGas(result));
    }
}
