// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Cursor, Descriptor} from "./Descriptor.sol";
import {Step} from "./Step.sol";
import {Terms} from "./Terms.sol";

/// @title One element of the primitives that go over a row of one operand
library RowSteps {
    error RankOutside(uint256 rank, uint256 length);

    /// @dev MAX_TERMS int64 stay below 2**77.
    function reduceSum(Step memory step) internal pure returns (int256 value) {
        int256[] memory values = reduced(step);
        unchecked {
            for (uint256 k = 0; k < values.length; ++k) {
                value += values[k];
            }
        }
    }

    function reduceMax(Step memory step) internal pure returns (int256 value) {
        int256[] memory values = reduced(step);
        value = values[0];
        unchecked {
            for (uint256 k = 1; k < values.length; ++k) {
                if (values[k] > value) value = values[k];
            }
        }
    }

    function argmax(Step memory step) internal pure returns (int256) {
        return int256(largest(row(step, step.index)));
    }

    /// @notice The output's last loop is the rank. Each pass takes the largest away.
    function topk(Step memory step) internal pure returns (int256) {
        uint256 rank = step.index.length;
        if (rank == 0) revert RankOutside(0, 0);
        uint256[] memory outer = new uint256[](rank - 1);
        for (uint256 k = 0; k + 1 < rank; ++k) {
            outer[k] = step.index[k];
        }
        int256[] memory values = row(step, outer);
        uint256 passes = step.index[rank - 1];
        if (passes >= values.length) revert RankOutside(passes, values.length);
        if ((passes + 1) * values.length > Terms.MAX_TERMS) revert Terms.TooManyTerms(Terms.MAX_TERMS);
        for (; passes > 0; --passes) {
            values[largest(values)] = type(int256).min;
        }
        return int256(largest(values));
    }

    /// @notice The first position of the largest element.
    function largest(int256[] memory values) private pure returns (uint256 position) {
        int256 best = values[0];
        unchecked {
            for (uint256 k = 1; k < values.length; ++k) {
                if (values[k] > best) {
                    best = values[k];
                    position = k;
                }
            }
        }
    }

    function reduced(Step memory step) private pure returns (int256[] memory) {
        Cursor memory cursor = step.cursor;
        uint256[] memory loops = Descriptor.sizes(cursor);
        return collect(step, step.index, loops);
    }

    function row(Step memory step, uint256[] memory outer) private pure returns (int256[] memory) {
        uint256[] memory loops = new uint256[](1);
        loops[0] = Descriptor.unsigned(step.cursor, 8);
        return collect(step, outer, loops);
    }

    /// @notice Reads the view of the only operand, which comes last, and what it leads to.
    function collect(Step memory step, uint256[] memory outer, uint256[] memory loops)
        private
        pure
        returns (int256[] memory)
    {
        (int256 place, int256[] memory strides) = Descriptor.walk(step.cursor, outer, loops.length);
        Descriptor.end(step.cursor);
        return Terms.collect(step.operands[0], place, strides, loops);
    }
}
