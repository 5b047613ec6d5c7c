// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {DataContract} from "src/libraries/DataContract.sol";
import {Facts} from "./StepBound.sol";

/// @notice A chunk of a graph before it is kept: what has been found out about its descriptors.
/// @param facts one for each descriptor
/// @param constants how many of them are constants
/// @param nodes, roots of these: numbers, and roots of their tensors
struct Chunk {
    Facts[] facts;
    uint256 constants;
    uint256[] nodes;
    bytes32[] roots;
}

/// @title Descriptors kept as the code of a contract
/// @notice Number of constants u16, for each its node u32 and its tensor root; for each descriptor the place where it
/// begins u16, bytes of an element u8, elements u48; the end u16; the descriptors.
library GraphChunk {
    uint256 private constant HEAD = 2;
    uint256 internal constant CONSTANT_BYTES = 36;
    uint256 private constant ENTRY_BYTES = 9;

    /// @notice Creates the contract.
    function write(bytes[] calldata descriptors, Chunk memory chunk) internal returns (address) {
        uint256 count = descriptors.length;
        uint256 place = HEAD + CONSTANT_BYTES * chunk.constants + ENTRY_BYTES * count + 2;
        uint256 size = place;
        for (uint256 i = 0; i < count; ++i) {
            size += descriptors[i].length;
        }
        // Checked before places are written in two bytes each.
        if (size > DataContract.MAX_BYTES) revert DataContract.DataTooLong(size);
        bytes memory data = new bytes(size + 32);
        assembly ("memory-safe") {
            mstore(data, size)
        }
        put(data, 0, chunk.constants, 2);
        uint256 at = HEAD;
        for (uint256 k = 0; k < chunk.constants; ++k) {
            put(data, at, chunk.nodes[k], 4);
            put(data, at + 4, uint256(chunk.roots[k]), 32);
            at += CONSTANT_BYTES;
        }
        for (uint256 i = 0; i < count; ++i) {
            put(data, at, place << 56 | chunk.facts[i].itemBytes << 48 | chunk.facts[i].elements, ENTRY_BYTES);
            at += ENTRY_BYTES;
            place += descriptors[i].length;
        }
        put(data, at, place, 2);
        at += 2;
        for (uint256 i = 0; i < count; ++i) {
            bytes calldata descriptor = descriptors[i];
            assembly ("memory-safe") {
                calldatacopy(add(add(data, 32), at), descriptor.offset, descriptor.length)
            }
            at += descriptor.length;
        }
        return DataContract.write(data);
    }

    /// @notice What the cost of a step depends on, of the descriptor at `index`.
    function factsAt(address pointer, uint256 index) internal view returns (Facts memory) {
        uint256 entry = entryAt(pointer, index);
        uint256 length = (entry & 0xffff) - (entry >> 72);
        return Facts(entry >> 64 & 0xff, entry >> 16 & type(uint48).max, length);
    }

    /// @notice The descriptor at `index`.
    function descriptorAt(address pointer, uint256 index) internal view returns (bytes memory) {
        uint256 entry = entryAt(pointer, index);
        return slice(pointer, entry >> 72, (entry & 0xffff) - (entry >> 72));
    }

    /// @notice The constants: 36 bytes each, the node's number and the tensor root.
    function constantsOf(address pointer) internal view returns (bytes memory) {
        return slice(pointer, HEAD, CONSTANT_BYTES * number(pointer, 0, 2));
    }

    /// @notice The constant that begins at byte `place` of them.
    function constantAt(bytes memory constants, uint256 place) internal pure returns (uint256 node, bytes32 root) {
        assembly ("memory-safe") {
            let at := add(add(constants, 32), place)
            node := shr(224, mload(at))
            root := mload(add(at, 4))
        }
    }

    /// @notice An entry and the place where the next descriptor begins.
    function entryAt(address pointer, uint256 index) private view returns (uint256) {
        uint256 constants = number(pointer, 0, 2);
        return number(pointer, HEAD + CONSTANT_BYTES * constants + ENTRY_BYTES * index, ENTRY_BYTES + 2);
    }

    /// @notice Writes the lowest `size` bytes; what follows is written later.
    function put(bytes memory data, uint256 at, uint256 value, uint256 size) private pure {
        assembly ("memory-safe") {
            mstore(add(add(data, 32), at), shl(sub(256, mul(8, size)), value))
        }
    }

    function number(address pointer, uint256 at, uint256 size) private view returns (uint256 value) {
        assembly ("memory-safe") {
            mstore(0, 0)
            extcodecopy(pointer, 0, add(at, 1), size)
            value := shr(sub(256, mul(8, size)), mload(0))
        }
    }

    function slice(address pointer, uint256 at, uint256 length) private view returns (bytes memory data) {
        data = new bytes(length);
        assembly ("memory-safe") {
            extcodecopy(pointer, add(data, 32), add(at, 1), length)
        }
    }
}
