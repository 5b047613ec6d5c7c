// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {VmlCommitment} from "src/libraries/VmlCommitment.sol";

/// @notice Bytes of a descriptor and how far they are read.
struct Cursor {
    bytes data;
    uint256 at;
}

/// @notice The part of a descriptor that all primitives share. `itemBytes` is the size of the dtype, `elements` the
/// product of the dimensions.
struct Node {
    uint8 kind;
    uint8 dtype;
    uint256 itemBytes;
    uint64[] dims;
    uint256 elements;
    uint256[] inputs;
}

/// @title Reads operator descriptors, the bytes of vml/model/codec.py
/// @notice kind u8, dtype u8, rank u8, dims u64 each, lo i64, hi i64, n u8, n inputs u32 each, attributes; big-endian.
/// Strict: every read is checked against the end, and what remains in the end is refused.
library Descriptor {
    uint256 internal constant MAX_RANK = 32;
    uint256 internal constant MAX_ELEMENTS = 1 << 40;

    error DescriptorEnds(uint256 length, uint256 wanted);
    error DescriptorContinues(uint256 length, uint256 read);
    error DescriptorRank(uint256 rank);
    error DescriptorElements(uint256 axis);
    error DescriptorKind(uint8 kind, uint256 inputs);
    error ElementIndex(uint256 element, uint256 elements);
    error ViewRank(uint256 expected, uint256 got);

    /// @notice An unsigned number of 1 to 32 bytes.
    function unsigned(Cursor memory cursor, uint256 size) internal pure returns (uint256 value) {
        bytes memory data = cursor.data;
        uint256 at = cursor.at;
        if (at + size > data.length) revert DescriptorEnds(data.length, at + size);
        cursor.at = at + size;
        assembly ("memory-safe") {
            value := shr(sub(256, mul(8, size)), mload(add(add(data, 32), at)))
        }
    }

    /// @notice An i64.
    function signed(Cursor memory cursor) internal pure returns (int256 value) {
        uint256 word = unsigned(cursor, 8);
        assembly ("memory-safe") {
            value := signextend(7, word)
        }
    }

    /// @notice Goes past bytes.
    function skip(Cursor memory cursor, uint256 size) internal pure {
        uint256 at = cursor.at + size;
        if (at > cursor.data.length) revert DescriptorEnds(cursor.data.length, at);
        cursor.at = at;
    }

    /// @notice Nothing may follow.
    function end(Cursor memory cursor) internal pure {
        if (cursor.at != cursor.data.length) revert DescriptorContinues(cursor.data.length, cursor.at);
    }

    /// @notice The shared part; leaves the cursor at the attributes.
    function node(Cursor memory cursor) internal pure returns (Node memory result) {
        result.kind = uint8(unsigned(cursor, 1));
        result.dtype = uint8(unsigned(cursor, 1));
        result.itemBytes = VmlCommitment.itemBytes(result.dtype);
        uint256 rank = unsigned(cursor, 1);
        if (rank > MAX_RANK) revert DescriptorRank(rank);
        result.dims = new uint64[](rank);
        uint256 elements = 1;
        for (uint256 axis = 0; axis < rank; ++axis) {
            uint256 dim = unsigned(cursor, 8);
            elements *= dim;
            if (elements == 0 || elements > MAX_ELEMENTS) revert DescriptorElements(axis);
            result.dims[axis] = uint64(dim);
        }
        result.elements = elements;
        skip(cursor, 16); // lo and hi: the graph's author derived them, and no step needs them
        result.inputs = new uint256[](unsigned(cursor, 1));
        for (uint256 k = 0; k < result.inputs.length; ++k) {
            result.inputs[k] = unsigned(cursor, 4);
        }
    }

    /// @notice Loop indices of an element, row-major.
    function position(Node memory node_, uint256 element) internal pure returns (uint256[] memory index) {
        if (element >= node_.elements) revert ElementIndex(element, node_.elements);
        index = new uint256[](node_.dims.length);
        for (uint256 axis = index.length; axis > 0; --axis) {
            uint256 dim = node_.dims[axis - 1];
            index[axis - 1] = element % dim;
            element /= dim;
        }
    }

    /// @notice Loop sizes.
    function sizes(Cursor memory cursor) internal pure returns (uint256[] memory result) {
        result = new uint256[](unsigned(cursor, 1));
        for (uint256 k = 0; k < result.length; ++k) {
            result[k] = unsigned(cursor, 8);
        }
    }

    /// @notice A view at given indices of its outer loops.
    /// @return place where it begins, in elements of the operand.
    /// @return strides of the `inner` loops that remain.
    function walk(Cursor memory cursor, uint256[] memory outer, uint256 inner)
        internal
        pure
        returns (int256 place, int256[] memory strides)
    {
        place = int256(unsigned(cursor, 8));
        uint256 rank = unsigned(cursor, 1);
        if (rank != outer.length + inner) revert ViewRank(outer.length + inner, rank);
        for (uint256 k = 0; k < outer.length; ++k) {
            place += signed(cursor) * int256(outer[k]);
        }
        strides = new int256[](inner);
        for (uint256 k = 0; k < inner; ++k) {
            strides[k] = signed(cursor);
        }
    }

    /// @notice A view without further loops.
    function placeOf(Cursor memory cursor, uint256[] memory outer) internal pure returns (int256 place) {
        (place,) = walk(cursor, outer, 0);
    }

    /// @notice The view of an operand that is not there: offset 0, no strides.
    function absent(Cursor memory cursor) internal pure {
        if (unsigned(cursor, 8) != 0) revert ViewRank(0, 0);
        uint256 rank = unsigned(cursor, 1);
        if (rank != 0) revert ViewRank(0, rank);
    }
}
