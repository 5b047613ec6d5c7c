// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {VmlCommitment} from "src/libraries/VmlCommitment.sol";

/// @notice One leaf of a tensor: its number, its bytes (1024, in the last leaf what is left) and its siblings.
struct Leaf {
    uint64 index;
    bytes data;
    bytes32[] path;
}

/// @notice The opened leaves of one operand, copied to memory: leaf `leaves[i]` begins at `start + i * SLOT`.
/// `leaf` and `pointer` remember the last one looked up. Without opened leaves `elements` is 0.
struct Tensor {
    uint256 elements;
    uint256 itemBytes;
    uint256[] leaves;
    uint256 start;
    uint256 leaf;
    uint256 pointer;
}

/// @title Reads elements of committed tensors through opened leaves
library TensorLib {
    /// @dev 32 bytes before each leaf, whose last one is the leaf's tag.
    uint256 internal constant SLOT = 1056;

    error LeafOrder(uint256 previous, uint256 index);
    error LeafOutside(uint256 index, uint256 leaves);
    error LeafBytes(uint256 expected, uint256 got);
    error LeafMissing(uint256 index);
    error PlaceOutside(int256 place, uint256 elements);

    /// @notice Checks leaves against the root of their tree and keeps them.
    /// @param openings one or more, in strictly rising order.
    function open(uint256 itemBytes, uint256 elements, bytes32 root, Leaf[] calldata openings)
        internal
        pure
        returns (Tensor memory tensor)
    {
        uint256 count = openings.length;
        tensor.elements = elements;
        tensor.itemBytes = itemBytes;
        tensor.leaves = new uint256[](count);
        uint256 start = allocate(count * SLOT) + 32;
        tensor.start = start;
        uint256 size = elements * itemBytes;
        uint256 depth = depthOf((size + 1023) / 1024);
        for (uint256 i = 0; i < count; ++i) {
            Leaf calldata leaf = openings[i];
            uint256 index = leaf.index;
            if (i > 0 && index <= tensor.leaves[i - 1]) revert LeafOrder(tensor.leaves[i - 1], index);
            tensor.leaves[i] = index;
            bytes32 digest = keep(leaf.data, index, size, start + i * SLOT);
            VmlCommitment.verifyOpening(root, digest, index, leaf.path, depth);
        }
        tensor.leaf = tensor.leaves[0];
        tensor.pointer = start;
    }

    /// @notice The smallest k with 2**k >= count; count is at most 2**33.
    function depthOf(uint256 count) internal pure returns (uint256 depth) {
        while (1 << depth < count) ++depth;
    }

    /// @notice The address of an element.
    function pointerTo(Tensor memory tensor, int256 place) internal pure returns (uint256) {
        if (place < 0 || uint256(place) >= tensor.elements) revert PlaceOutside(place, tensor.elements);
        uint256 offset = uint256(place) * tensor.itemBytes;
        uint256 leaf = offset >> 10;
        if (leaf != tensor.leaf) seek(tensor, leaf);
        return tensor.pointer + (offset & 1023);
    }

    /// @notice One element.
    function read(Tensor memory tensor, int256 place) internal pure returns (int256 value) {
        uint256 pointer = pointerTo(tensor, place);
        uint256 shift = 256 - 8 * tensor.itemBytes;
        assembly ("memory-safe") {
            value := sar(shift, mload(pointer))
        }
    }

    /// @notice The first element of a run, and how many of it can be read before another leaf begins.
    /// @param count length of the run, at least 1; `inside` has found both of its ends in the tensor.
    function run(Tensor memory tensor, int256 place, int256 stride, uint256 count)
        internal
        pure
        returns (uint256 pointer, uint256 steps)
    {
        unchecked {
            uint256 item = tensor.itemBytes;
            uint256 offset = uint256(place) * item;
            if (offset >> 10 != tensor.leaf) seek(tensor, offset >> 10);
            offset &= 1023;
            pointer = tensor.pointer + offset;
            uint256 jump;
            (offset, jump) = stride > 0 ? (1023 - offset, uint256(stride) * item) : (offset, uint256(-stride) * item);
            steps = jump == 0 ? count : offset / jump + 1;
            if (steps > count) steps = count;
        }
    }

    /// @notice Reverts unless both ends of a run lie in the tensor; then all of it does.
    function inside(Tensor memory tensor, int256 place, int256 stride, uint256 count) internal pure {
        // Below 2**128, see DotStep: what a descriptor says cannot overflow.
        unchecked {
            int256 last = place + stride * int256(count - 1);
            uint256 elements = tensor.elements;
            if (place < 0 || uint256(place) >= elements) revert PlaceOutside(place, elements);
            if (last < 0 || uint256(last) >= elements) revert PlaceOutside(last, elements);
        }
    }

    /// @notice Looks a leaf up by bisection.
    function seek(Tensor memory tensor, uint256 leaf) private pure {
        uint256[] memory leaves = tensor.leaves;
        uint256 low = 0;
        uint256 high = leaves.length;
        unchecked {
            while (low < high) {
                uint256 middle = (low + high) >> 1;
                if (leaves[middle] < leaf) low = middle + 1;
                else high = middle;
            }
            if (low == leaves.length || leaves[low] != leaf) revert LeafMissing(leaf);
            tensor.leaf = leaf;
            tensor.pointer = tensor.start + low * SLOT;
        }
    }

    /// @notice Copies a leaf's bytes to `pointer`, zeros after them, and hashes it with its tag.
    function keep(bytes calldata data, uint256 index, uint256 size, uint256 pointer)
        private
        pure
        returns (bytes32 digest)
    {
        if (index * 1024 >= size) revert LeafOutside(index, (size + 1023) / 1024);
        uint256 length = size - index * 1024;
        if (length > 1024) length = 1024;
        if (data.length != length) revert LeafBytes(length, data.length);
        assembly ("memory-safe") {
            mstore8(sub(pointer, 1), 0x00)
            calldatacopy(pointer, data.offset, length)
            // Reading past the end of calldata gives zeros.
            calldatacopy(add(pointer, length), calldatasize(), sub(1024, length))
            digest := keccak256(sub(pointer, 1), 1025)
        }
    }

    /// @notice Memory that is not zeroed, and 32 bytes more, so that a word can be read at its last byte.
    function allocate(uint256 size) private pure returns (uint256 pointer) {
        assembly ("memory-safe") {
            pointer := mload(0x40)
            mstore(0x40, add(pointer, add(size, 32)))
        }
    }
}
