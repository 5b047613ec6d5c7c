// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Cursor} from "./Descriptor.sol";
import {Tensor} from "./Tensor.sol";

/// @notice What a primitive's step works on.
/// @param cursor at the primitive's attributes.
/// @param index of the output element, one number a loop.
/// @param operands opened leaves; not opened where `elements` is 0.
struct Step {
    Cursor cursor;
    uint256[] index;
    Tensor[] operands;
}
