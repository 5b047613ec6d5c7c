// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Tensor, TensorLib} from "./Tensor.sol";

/// @title The terms that one output element is made of
library Terms {
    /// @notice Terms of one step at most; compilers make longer reductions several nodes.
    uint256 internal constant MAX_TERMS = 8192;

    error TooManyTerms(uint256 limit);
    error NoTerms();

    /// @notice The product of loop sizes.
    function count(uint256[] memory loops) internal pure returns (uint256 terms) {
        for (uint256 k = 0; k < loops.length; ++k) {
            if (loops[k] == 0) return 0;
        }
        terms = 1;
        for (uint256 k = 0; k < loops.length; ++k) {
            terms *= loops[k];
            if (terms > MAX_TERMS) revert TooManyTerms(MAX_TERMS);
        }
    }

    /// @notice Takes loops of one step away, which change no place, and their strides in `a` and in `b`, which may be one.
    /// Every other loop at least doubles the terms, so what remains is 13 loops at most.
    function dropOnes(uint256[] memory loops, int256[] memory a, int256[] memory b) internal pure {
        uint256 kept = 0;
        for (uint256 k = 0; k < loops.length; ++k) {
            if (loops[k] == 1) continue;
            (loops[kept], a[kept], b[kept]) = (loops[k], a[k], b[k]);
            ++kept;
        }
        assembly ("memory-safe") {
            mstore(loops, kept)
            mstore(a, kept)
            mstore(b, kept)
        }
    }

    /// @notice All the terms of a walk over one operand, in row-major order of its loops.
    /// @dev Leaves `loops` and `strides` without loops of one step.
    function collect(Tensor memory tensor, int256 place, int256[] memory strides, uint256[] memory loops)
        internal
        pure
        returns (int256[] memory values)
    {
        uint256 terms = count(loops);
        if (terms == 0) revert NoTerms();
        values = new int256[](terms);
        dropOnes(loops, strides, strides);
        uint256 rank = loops.length;
        uint256 inner = rank == 0 ? 1 : loops[rank - 1];
        uint256[] memory index = new uint256[](rank);
        uint256 done = 0;
        while (true) {
            row(tensor, place, rank == 0 ? int256(0) : strides[rank - 1], values, done, inner);
            done += inner;
            if (done == terms) return values;
            for (uint256 k = rank - 1; k > 0;) {
                --k;
                place += strides[k];
                if (++index[k] < loops[k]) break;
                index[k] = 0;
                place -= strides[k] * int256(loops[k]);
            }
        }
    }

    function row(Tensor memory tensor, int256 place, int256 stride, int256[] memory values, uint256 done, uint256 left)
        private
        pure
    {
        TensorLib.inside(tensor, place, stride, left);
        uint256 shift = 256 - 8 * tensor.itemBytes;
        uint256 to;
        assembly ("memory-safe") {
            to := add(add(values, 32), mul(done, 32))
        }
        while (left > 0) {
            (uint256 pointer, uint256 steps) = TensorLib.run(tensor, place, stride, left);
            unchecked {
                int256 jump = stride * int256(tensor.itemBytes);
                place += stride * int256(steps);
                left -= steps;
                assembly ("memory-safe") {
                    for {} steps { steps := sub(steps, 1) } {
                        mstore(to, sar(shift, mload(pointer)))
                        to := add(to, 32)
                        pointer := add(pointer, jump)
                    }
                }
            }
        }
    }
}
