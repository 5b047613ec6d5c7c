// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Cursor, Descriptor} from "./Descriptor.sol";
import {Step} from "./Step.sol";
import {TensorLib} from "./Tensor.sol";

/// @title One element of the primitives that take one element of each operand
/// @dev Elements and attributes are below 2**64, so no arithmetic here comes near 2**255. A statement reads the cursor
/// once: the language does not say in which order an expression is evaluated.
library ElementSteps {
    error BadShift(uint256 shift);

    function rescale(Step memory step) internal pure returns (int256 value) {
        Cursor memory cursor = step.cursor;
        value = element(step, 0);
        uint256 shift = Descriptor.unsigned(cursor, 1);
        if (shift != 16 && shift != 32 && shift != 48) revert BadShift(shift);
        int256 multiplier = Descriptor.signed(cursor);
        if (step.operands.length == 2) multiplier = element(step, 1);
        else Descriptor.absent(cursor);
        value = (value * multiplier + int256(1 << (shift - 1))) >> shift;
        int256 lo = Descriptor.signed(cursor);
        int256 hi = Descriptor.signed(cursor);
        Descriptor.end(cursor);
        if (value > hi) value = hi;
        if (value < lo) value = lo;
    }

    /// @notice A position outside the table counts as the nearest one inside.
    function lookup(Step memory step) internal pure returns (int256) {
        int256 row = element(step, 0);
        row -= Descriptor.signed(step.cursor);
        Descriptor.end(step.cursor);
        return TensorLib.read(step.operands[1], clamp(row, step.operands[1].elements));
    }

    function affine(Step memory step) internal pure returns (int256 value) {
        Cursor memory cursor = step.cursor;
        int256 a = element(step, 0);
        int256 b = 0;
        if (step.operands.length == 2) b = element(step, 1);
        else Descriptor.absent(cursor);
        value = Descriptor.signed(cursor) * a;
        value += Descriptor.signed(cursor) * b;
        value += Descriptor.signed(cursor);
        Descriptor.end(cursor);
    }

    function multiply(Step memory step) internal pure returns (int256) {
        (int256 a, int256 b) = pair(step);
        return a * b;
    }

    function less(Step memory step) internal pure returns (int256) {
        (int256 a, int256 b) = pair(step);
        return a < b ? int256(1) : int256(0);
    }

    function equal(Step memory step) internal pure returns (int256) {
        (int256 a, int256 b) = pair(step);
        return a == b ? int256(1) : int256(0);
    }

    /// @notice Both choices are read, so that which leaves are needed does not depend on the condition.
    function select(Step memory step) internal pure returns (int256) {
        int256 condition = element(step, 0);
        int256 a = element(step, 1);
        int256 b = element(step, 2);
        Descriptor.end(step.cursor);
        return condition != 0 ? a : b;
    }

    function divide(Step memory step) internal pure returns (int256 value) {
        (int256 a, int256 b) = pair(step);
        if (b <= 0) return 0;
        int256 numerator = 2 * a + b;
        value = numerator / (2 * b);
        // The EVM rounds towards zero.
        if (numerator % (2 * b) < 0) --value;
    }

    function isqrt(Step memory step) internal pure returns (int256) {
        int256 x = element(step, 0);
        Descriptor.end(step.cursor);
        return x > 0 ? int256(Math.sqrt(uint256(x))) : int256(0);
    }

    /// @notice One axis of x is indexed by a tensor; an index outside counts as the nearest one inside.
    function take(Step memory step) internal pure returns (int256) {
        Cursor memory cursor = step.cursor;
        int256 place = Descriptor.placeOf(cursor, step.index);
        int256 row = element(step, 1);
        uint256 size = Descriptor.unsigned(cursor, 8);
        place += Descriptor.signed(cursor) * clamp(row, size);
        Descriptor.end(cursor);
        return TensorLib.read(step.operands[0], place);
    }

    /// @notice The nearest of 0 .. size - 1; 0 where there is none.
    function clamp(int256 row, uint256 size) private pure returns (int256) {
        if (row >= int256(size)) row = int256(size) - 1;
        return row < 0 ? int256(0) : row;
    }

    /// @notice The element of an operand that the next view leads to.
    function element(Step memory step, uint256 operand) private pure returns (int256) {
        return TensorLib.read(step.operands[operand], Descriptor.placeOf(step.cursor, step.index));
    }

    function pair(Step memory step) private pure returns (int256 a, int256 b) {
        a = element(step, 0);
        b = element(step, 1);
        Descriptor.end(step.cursor);
    }
}
