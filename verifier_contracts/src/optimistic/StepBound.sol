// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {TensorLib} from "./steps/Tensor.sol";

/// @notice What the cost of a step depends on, of one operator: its tensor, and the length of its descriptor.
struct Facts {
    uint256 itemBytes;
    uint256 elements;
    uint256 descriptorBytes;
}

/// @notice What a one-step proof of any element of an operator costs at most.
/// @param calldataBytes of the statement and the proof
/// @param transactionBytes of a transaction of the game with the proof
/// @param gas to execute, without calldata and without the 21,000 of a transaction
struct Bound {
    uint256 terms;
    uint256 leaves;
    uint256 calldataBytes;
    uint256 transactionBytes;
    uint256 gas;
}

/// @title The cost of the dearest step, from descriptors alone: step_bound of vml/model/onestep.py, number for number
/// @dev Terms are 8192 at most, tensors have 2**40 elements at most and views stay inside them before anything here is
/// asked, so all numbers stay below 2**64.
library StepBound {
    uint256 private constant LEAF_BYTES = 1024;
    uint256 private constant LEAF_SLOT = 1056;

    /// @notice Of a transaction with a proof, at most: nodes pass on no more than 128 KiB.
    uint256 internal constant MAX_TRANSACTION_BYTES = 120 << 10;
    /// @dev What the game's call brings besides the proof, but for the roots of the operands: names, a leaf, two paths.
    uint256 private constant GAME_BYTES = 6 << 10;

    uint256 private constant BASE_GAS = 12_000;
    uint256 private constant OPERAND_GAS = 4000;
    uint256 private constant DESCRIPTOR_BYTE_GAS = 120;
    uint256 private constant LEVEL_GAS = 400;
    uint256 private constant LEAF_GAS = 4500;
    uint256 private constant SEEK_GAS = 150;
    uint256 private constant ROW_GAS = 800;
    uint256 private constant CARRY_GAS = 1100;
    uint256 private constant PIECE_GAS = 1400;
    uint256 private constant PRODUCT_GAS = 80;
    uint256 private constant TERM_GAS = 280;

    /// @notice One way that a step may go, before its walks.
    /// @param depth of the graph's tree
    function begin(uint256 terms, uint256 depth, uint256 inputs, uint256 descriptorBytes)
        internal
        pure
        returns (Bound memory way)
    {
        way.terms = terms;
        way.calldataBytes = 4 + 32 * 20 + 32 * 10 * inputs + padded(descriptorBytes) + 32 * depth;
        way.transactionBytes = GAME_BYTES + 32 * (4 + depth) * inputs;
        way.gas = BASE_GAS + OPERAND_GAS * inputs + DESCRIPTOR_BYTE_GAS * descriptorBytes + LEVEL_GAS * depth;
    }

    /// @notice Adds what one operand costs: `loops` and `strides` from a place that the element decides.
    function walk(
        Bound memory way,
        uint256 depth,
        Facts memory operand,
        uint256[] memory loops,
        int256[] memory strides
    ) internal pure {
        uint256 opened = leavesOf(loops, strides, operand);
        (uint256 rows, uint256 outer, uint256 pieces) = piecesOf(loops, strides, operand);
        uint256 size = operand.elements * operand.itemBytes;
        uint256 levels = TensorLib.depthOf((size + LEAF_BYTES - 1) / LEAF_BYTES);
        way.leaves += opened;
        way.calldataBytes += padded(operand.descriptorBytes) + 32 * depth + opened
        * (padded(size < LEAF_BYTES ? size : LEAF_BYTES) + 32 * (levels + 6));
        way.gas += DESCRIPTOR_BYTE_GAS * operand.descriptorBytes + LEVEL_GAS * depth + opened
            * (LEAF_GAS + LEVEL_GAS * levels) + ROW_GAS * rows + CARRY_GAS * outer
            // The smallest k with 2**k > opened: steps of a search among the leaves.
            + pieces * (PIECE_GAS + SEEK_GAS * TensorLib.depthOf(opened + 1));
    }

    /// @notice Adds the terms, the memory and all calldata, once all walks are in.
    /// @param products adds up where others collect their terms in memory first
    function finish(Bound memory way, bool products) internal pure {
        way.gas += (products ? PRODUCT_GAS : TERM_GAS) * way.terms;
        uint256 words = (way.calldataBytes + LEAF_SLOT * way.leaves + (products ? 0 : 40 * way.terms)) / 32;
        way.gas += 3 * words + words * words / 512;
        way.transactionBytes += way.calldataBytes;
    }

    /// @notice The larger of each number.
    function join(Bound memory a, Bound memory b) internal pure {
        if (b.terms > a.terms) a.terms = b.terms;
        if (b.leaves > a.leaves) a.leaves = b.leaves;
        if (b.calldataBytes > a.calldataBytes) a.calldataBytes = b.calldataBytes;
        if (b.transactionBytes > a.transactionBytes) a.transactionBytes = b.transactionBytes;
        if (b.gas > a.gas) a.gas = b.gas;
    }

    /// @notice All of a transaction that does nothing else; prices of EIP-2028 and the floor of EIP-7623, no zero bytes.
    function transactionGas(Bound memory bound) internal pure returns (uint256) {
        uint256 standard = bound.gas + 16 * bound.calldataBytes;
        uint256 lowest = 40 * bound.calldataBytes;
        return 21_000 + (standard > lowest ? standard : lowest);
    }

    /// @notice Leaves that a walk can touch at most, wherever it begins.
    function leavesOf(uint256[] memory loops, int256[] memory strides, Facts memory operand)
        internal
        pure
        returns (uint256 best)
    {
        (uint256[] memory sizes, uint256[] memory steps, uint256 count) = sorted(loops, strides);
        uint256 repeats = 1;
        for (uint256 k = 0; k < count; ++k) {
            repeats *= sizes[k];
        }
        best = repeats;
        uint256 reach = 0;
        // All of the shorter strides together stay within `reach` elements; each longer one moves that window.
        for (uint256 k = 0; k < count; ++k) {
            reach += steps[k] * (sizes[k] - 1);
            repeats /= sizes[k];
            uint256 touched = repeats * window(reach, operand.itemBytes);
            if (touched < best) best = touched;
        }
        uint256 all = (operand.elements * operand.itemBytes + LEAF_BYTES - 1) / LEAF_BYTES;
        if (all < best) best = all;
    }

    /// @notice Rows (passes of the innermost loop), passes of the loops around it, and pieces of rows that lie in one leaf
    /// each, at most. Loops of one step are none: Terms.dropOnes.
    function piecesOf(uint256[] memory loops, int256[] memory strides, Facts memory operand)
        internal
        pure
        returns (uint256 rows, uint256 outer, uint256 pieces)
    {
        rows = 1;
        uint256 inner = 1;
        uint256 step = 0;
        for (uint256 k = 0; k < loops.length; ++k) {
            if (loops[k] == 1) continue;
            if (inner > 1) outer += rows;
            rows *= inner;
            (inner, step) = (loops[k], absolute(strides[k]));
        }
        pieces = window(step * (inner - 1), operand.itemBytes);
        pieces = rows * (pieces < inner ? pieces : inner);
    }

    /// @notice Leaves that elements not more than `reach` apart can lie in.
    function window(uint256 reach, uint256 itemBytes) private pure returns (uint256) {
        return (reach * itemBytes + LEAF_BYTES - itemBytes) / LEAF_BYTES + 1;
    }

    /// @notice The loops that move, by stride and then by size: 13 at most, as each doubles the terms.
    function sorted(uint256[] memory loops, int256[] memory strides)
        private
        pure
        returns (uint256[] memory sizes, uint256[] memory steps, uint256 count)
    {
        sizes = new uint256[](loops.length);
        steps = new uint256[](loops.length);
        for (uint256 k = 0; k < loops.length; ++k) {
            uint256 n = loops[k];
            uint256 step = absolute(strides[k]);
            if (n == 1 || step == 0) continue;
            uint256 at = count++;
            for (; at > 0 && (steps[at - 1] > step || (steps[at - 1] == step && sizes[at - 1] > n)); --at) {
                steps[at] = steps[at - 1];
                sizes[at] = sizes[at - 1];
            }
            steps[at] = step;
            sizes[at] = n;
        }
    }

    function absolute(int256 stride) private pure returns (uint256) {
        return stride < 0 ? uint256(-stride) : uint256(stride);
    }

    function padded(uint256 length) private pure returns (uint256) {
        return (length + 31) / 32 * 32;
    }
}
