// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Cursor, Descriptor} from "./Descriptor.sol";
import {Step} from "./Step.sol";
import {TensorLib} from "./Tensor.sol";

/// @title One element of `gather`: an element of the part that it falls into, or fill
library GatherStep {
    uint256 private constant RUN_BYTES = 24;

    error GatherAxis(uint256 axis, uint256 rank);
    error GatherParts(uint256 expected, uint256 got);
    error GatherMaps(uint256 expected, uint256 got);
    error GatherCover(uint256 position);

    function gather(Step memory step) internal pure returns (int256 value) {
        Cursor memory cursor = step.cursor;
        uint256 rank = step.index.length;
        uint256 axis = Descriptor.unsigned(cursor, 1);
        if (axis >= rank && axis > 0) revert GatherAxis(axis, rank);
        value = Descriptor.signed(cursor);
        uint256 parts = Descriptor.unsigned(cursor, 1);
        if (parts != step.operands.length) revert GatherParts(step.operands.length, parts);
        uint256 position = rank == 0 ? 0 : step.index[axis];
        bool found = false;
        for (uint256 k = 0; k < parts; ++k) {
            uint256 length = Descriptor.unsigned(cursor, 8);
            int256 place = int256(Descriptor.unsigned(cursor, 8));
            uint256 maps = Descriptor.unsigned(cursor, 1);
            if (maps != rank) revert GatherMaps(rank, maps);
            if (found || position >= length) {
                if (!found) position -= length;
                for (uint256 m = 0; m < maps; ++m) {
                    Descriptor.skip(cursor, Descriptor.unsigned(cursor, 4) * RUN_BYTES);
                }
                continue;
            }
            found = true;
            if (rank > 0) step.index[axis] = position;
            int256 inner = contributions(cursor, step.index);
            if (inner >= 0) value = TensorLib.read(step.operands[k], place + inner);
        }
        if (!found) revert GatherCover(position);
        Descriptor.end(cursor);
    }

    /// @notice What all axes add to the place; -1 where one of them is fill.
    function contributions(Cursor memory cursor, uint256[] memory index) private pure returns (int256 total) {
        for (uint256 axis = 0; axis < index.length; ++axis) {
            int256 added = contribution(cursor, index[axis]);
            if (total >= 0) total = added < 0 ? int256(-1) : total + added;
        }
    }

    /// @notice What one axis adds, from its runs (length, start, step); -1 where it is fill or steps below 0.
    function contribution(Cursor memory cursor, uint256 position) private pure returns (int256 added) {
        uint256 runs = Descriptor.unsigned(cursor, 4);
        for (uint256 left = runs; left > 0; --left) {
            uint256 length = Descriptor.unsigned(cursor, 8);
            if (position < length) {
                int256 start = Descriptor.signed(cursor);
                int256 stride = Descriptor.signed(cursor);
                Descriptor.skip(cursor, (left - 1) * RUN_BYTES);
                if (start < 0) return -1;
                added = start + stride * int256(position);
                return added < 0 ? int256(-1) : added;
            }
            position -= length;
            Descriptor.skip(cursor, 16);
        }
        revert GatherCover(position);
    }
}
