// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IDisputeGame} from "src/interfaces/IDisputeGame.sol";
import {VmlCommitment} from "src/libraries/VmlCommitment.sol";
import {Node} from "src/optimistic/steps/Descriptor.sol";
import {TensorLib} from "src/optimistic/steps/Tensor.sol";

/// @title What a reveal must look like, as in vml/backends/optimistic/shapes.py
/// @notice A tensor's tree of depth d is gone down in strides of five levels: from height h to h - 5, or to the leaves
/// where fewer are left. The depth follows from the header in the model's descriptor, never from what a player says.
library Shapes {
    uint256 internal constant LEVELS = 5;

    /// @notice Genuine leaves of a tensor.
    function leafCount(Node memory node) internal pure returns (uint256) {
        return (node.elements * node.itemBytes + 1023) / 1024;
    }

    /// @notice Height of the root of a tensor's tree.
    function depth(Node memory node) internal pure returns (uint8) {
        return uint8(TensorLib.depthOf(leafCount(node)));
    }

    /// @notice Levels that the reveal of a node at this height goes down.
    function levelsBelow(uint8 height) internal pure returns (uint8) {
        return height < LEVELS ? height : uint8(LEVELS);
    }

    /// @notice Where the given child of a revealed node lies.
    function child(IDisputeGame.Position memory at, uint256 number)
        internal
        pure
        returns (IDisputeGame.Position memory)
    {
        uint8 levels = levelsBelow(at.height);
        return IDisputeGame.Position(at.operator, at.height - levels, uint40((uint256(at.index) << levels) + number));
    }

    /// @notice Whether only leaves after the tensor's last one lie below.
    function isPadding(IDisputeGame.Position memory at, Node memory node) internal pure returns (bool) {
        return uint256(at.index) << at.height >= leafCount(node);
    }

    /// @notice The digest that was committed to for what stands at a position: at the top of a tree the tensor root.
    function committed(IDisputeGame.Position memory at, Node memory node, bytes32 digest)
        internal
        pure
        returns (bytes32)
    {
        return at.height == depth(node) ? VmlCommitment.tensorDigest(node.dtype, node.dims, digest) : digest;
    }

    /// @notice The digest of a node, from its descendants five levels down.
    function nodeDigest(IDisputeGame.Position memory at, Node memory node, bytes32[] calldata children)
        internal
        pure
        returns (bytes32)
    {
        uint8 levels = levelsBelow(at.height);
        uint256 count = 1 << levels;
        if (at.height == 0 || children.length != count) revert IDisputeGame.ChildrenMalformed(count);
        uint8 below = at.height - levels;
        bytes32 empty = VmlCommitment.EMPTY;
        for (uint256 k = 0; k < below; ++k) {
            empty = VmlCommitment.node(empty, empty);
        }
        // The first child under which no genuine leaf lies, counted from the left end of the level.
        uint256 end = ((leafCount(node) - 1) >> below) + 1;
        uint256 first = uint256(at.index) << levels;
        bytes32[] memory row = children;
        for (uint256 k = end > first ? end - first : 0; k < count; ++k) {
            if (row[k] != empty) revert IDisputeGame.PaddingNotEmpty(k);
        }
        return VmlCommitment.merkleRoot(row, empty);
    }

    /// @notice The digest of a leaf, from its data without padding.
    function leafDigest(uint256 index, Node memory node, bytes calldata data) internal pure returns (bytes32) {
        uint256 size = node.elements * node.itemBytes;
        uint256 expected = index * 1024 >= size ? 0 : size - index * 1024;
        if (expected > 1024) expected = 1024;
        if (expected == 0 || data.length != expected) revert IDisputeGame.LeafMalformed(expected, data.length);
        return VmlCommitment.tensorLeaf(data);
    }

    /// @notice Element `number` of a tensor, out of the data of leaf `index`, which are as long as they are.
    function element(bytes calldata data, uint256 index, uint256 number, Node memory node)
        internal
        pure
        returns (int256 value)
    {
        uint256 item = node.itemBytes;
        if (number * item < index * 1024 || number * item >= index * 1024 + data.length) {
            revert IDisputeGame.ElementOutside(number);
        }
        uint256 at = number * item - index * 1024;
        uint256 shift = 256 - 8 * item;
        assembly ("memory-safe") {
            value := sar(shift, calldataload(add(data.offset, at)))
        }
    }

    /// @notice Reverts unless the root is an operator's in a list of `count`.
    function requireListed(bytes32 list, uint256 count, uint256 operator, IDisputeGame.Root calldata root)
        internal
        pure
    {
        bytes32 tree = VmlCommitment.openingRoot(root.root, operator, root.path, TensorLib.depthOf(count));
        bytes32 got = VmlCommitment.traceDigest(count, tree);
        if (got != list) revert IDisputeGame.ListMismatch(list, got);
    }
}
