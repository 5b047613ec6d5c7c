// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Cursor, Descriptor} from "./Descriptor.sol";
import {Step} from "./Step.sol";
import {Tensor, TensorLib} from "./Tensor.sol";
import {Terms} from "./Terms.sol";

/// @title One element of `dot`: bias + the sum of a * b over the contracted loops
library DotStep {
    /// @notice Two operands walked together.
    struct Pair {
        Tensor a;
        Tensor b;
        int256 atA;
        int256 atB;
        int256[] stridesA;
        int256[] stridesB;
    }

    function dot(Step memory step) internal pure returns (int256 value) {
        Cursor memory cursor = step.cursor;
        uint256[] memory loops = Descriptor.sizes(cursor);
        uint256 terms = Terms.count(loops);
        (int256 atA, int256[] memory stridesA) = Descriptor.walk(cursor, step.index, loops.length);
        (int256 atB, int256[] memory stridesB) = Descriptor.walk(cursor, step.index, loops.length);
        if (step.operands.length == 3) {
            value = TensorLib.read(step.operands[2], Descriptor.placeOf(cursor, step.index));
        } else {
            Descriptor.absent(cursor);
        }
        Descriptor.end(cursor);
        if (terms == 0) return value;
        Terms.dropOnes(loops, stridesA, stridesB);
        value += sum(Pair(step.operands[0], step.operands[1], atA, atB, stridesA, stridesB), loops, terms);
    }

    function sum(Pair memory pair, uint256[] memory loops, uint256 terms) private pure returns (int256 total) {
        uint256 rank = loops.length;
        uint256 inner = rank == 0 ? 1 : loops[rank - 1];
        uint256[] memory index = new uint256[](rank);
        // Places stay below 2**128: loops are below 2**14, strides and where a view begins below 2**110.
        unchecked {
            while (true) {
                total += row(pair, inner, rank);
                terms -= inner;
                if (terms == 0) return total;
                // The next row: the outer loops count on like the digits of a number.
                for (uint256 k = rank - 1; k > 0;) {
                    --k;
                    pair.atA += pair.stridesA[k];
                    pair.atB += pair.stridesB[k];
                    if (++index[k] < loops[k]) break;
                    index[k] = 0;
                    pair.atA -= pair.stridesA[k] * int256(loops[k]);
                    pair.atB -= pair.stridesB[k] * int256(loops[k]);
                }
            }
        }
    }

    /// @notice The sum over the innermost loop, in pieces that stay in one leaf of each operand.
    function row(Pair memory pair, uint256 left, uint256 rank) private pure returns (int256 total) {
        (int256 atA, int256 atB) = (pair.atA, pair.atB);
        int256 strideA = rank == 0 ? int256(0) : pair.stridesA[rank - 1];
        int256 strideB = rank == 0 ? int256(0) : pair.stridesB[rank - 1];
        TensorLib.inside(pair.a, atA, strideA, left);
        TensorLib.inside(pair.b, atB, strideB, left);
        unchecked {
            while (left > 0) {
                (uint256 pointerA, uint256 steps) = TensorLib.run(pair.a, atA, strideA, left);
                uint256 pointerB;
                (pointerB, steps) = TensorLib.run(pair.b, atB, strideB, steps);
                total += piece(pair, strideA, strideB, pointerA, pointerB, steps);
                atA += strideA * int256(steps);
                atB += strideB * int256(steps);
                left -= steps;
            }
        }
    }

    /// @dev Elements are int64 at most, so a product stays below 2**127 and MAX_TERMS of them below 2**141.
    function piece(Pair memory pair, int256 strideA, int256 strideB, uint256 pointerA, uint256 pointerB, uint256 steps)
        private
        pure
        returns (int256 total)
    {
        uint256 shiftA = 256 - 8 * pair.a.itemBytes;
        uint256 shiftB = 256 - 8 * pair.b.itemBytes;
        unchecked {
            strideA *= int256(pair.a.itemBytes);
            strideB *= int256(pair.b.itemBytes);
        }
        assembly ("memory-safe") {
            // Four at a time: the loop costs as much as a product.
            for {} gt(steps, 3) { steps := sub(steps, 4) } {
                total := add(total, mul(sar(shiftA, mload(pointerA)), sar(shiftB, mload(pointerB))))
                pointerA := add(pointerA, strideA)
                pointerB := add(pointerB, strideB)
                total := add(total, mul(sar(shiftA, mload(pointerA)), sar(shiftB, mload(pointerB))))
                pointerA := add(pointerA, strideA)
                pointerB := add(pointerB, strideB)
                total := add(total, mul(sar(shiftA, mload(pointerA)), sar(shiftB, mload(pointerB))))
                pointerA := add(pointerA, strideA)
                pointerB := add(pointerB, strideB)
                total := add(total, mul(sar(shiftA, mload(pointerA)), sar(shiftB, mload(pointerB))))
                pointerA := add(pointerA, strideA)
                pointerB := add(pointerB, strideB)
            }
            for {} steps { steps := sub(steps, 1) } {
                total := add(total, mul(sar(shiftA, mload(pointerA)), sar(shiftB, mload(pointerB))))
                pointerA := add(pointerA, strideA)
                pointerB := add(pointerB, strideB)
            }
        }
    }
}
