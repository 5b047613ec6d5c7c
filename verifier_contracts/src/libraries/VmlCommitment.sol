// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title Commitments to tensors, graphs and models, as in vml/merkle.py
/// @notice H is keccak256, || is concatenation, integers are big-endian:
///   leaf       = H(0x00 || 1024 bytes, the last leaf zero-padded)
///   node       = H(0x01 || left || right)
///   tensor     = H(0x02 || dtype u8 || rank u8 || dims u64 each || merkle root)
///   tensors    = H(0x03 || n u32 || tensor roots)
///   descriptor = H(0x04 || descriptor bytes)
///   graph      = H(0x05 || n u32 || merkle root of the descriptor leaves)
///   model      = H(0x06 || semantics digest || graph root || H(input spec) || H(output spec))
///   trace      = H(0x24 || n u32 || merkle root of the tensor roots of all n operators)
///   hidden     = H(0x10 || salt || root)
/// Trees are padded on the right to 2**k leaves: tensors and traces with H(0x00 || 1024 zero bytes),
/// graphs with H(0x04).
library VmlCommitment {
    uint256 internal constant LEAF_BYTES = 1024;
    uint256 internal constant MAX_DEPTH = 64;

    bytes1 internal constant TAG_LEAF = 0x00;
    bytes1 internal constant TAG_NODE = 0x01;
    bytes1 internal constant TAG_TENSOR = 0x02;
    bytes1 internal constant TAG_TENSORS = 0x03;
    bytes1 internal constant TAG_DESCRIPTOR = 0x04;
    bytes1 internal constant TAG_GRAPH = 0x05;
    bytes1 internal constant TAG_MODEL = 0x06;
    bytes1 internal constant TAG_TRACE = 0x24;
    bytes1 internal constant TAG_HIDDEN = 0x10;

    /// @notice H(0x00 || 1024 zero bytes): pads tensor trees.
    bytes32 internal constant EMPTY = 0xb451172d921688ddb03855417ff6024f993372ebfb24728857dac6402ae6575d;
    /// @notice H(0x04): pads descriptor trees.
    bytes32 internal constant EMPTY_DESCRIPTOR = keccak256(hex"04");

    error LeafSize(uint256 length);
    error NoLeaves();
    error NoTensors();
    error EmptyDescriptor();
    error UnknownDtype(uint8 dtype);
    error BadRank(uint256 rank);
    error ZeroDimension(uint256 axis);
    error TensorSize(uint256 expected, uint256 got);
    error DescriptorCount(uint256 count);
    error Depth(uint256 depth);
    error PathLength(uint256 expected, uint256 got);
    error LeafIndex(uint256 index, uint256 depth);
    error WrongRoot(bytes32 expected, bytes32 got);

    /// @notice The digest of 1 to 1024 bytes of tensor data.
    function tensorLeaf(bytes calldata chunk) internal pure returns (bytes32 leaf) {
        uint256 length = chunk.length;
        if (length == 0 || length > LEAF_BYTES) revert LeafSize(length);
        // The preimage is built past the free memory pointer and not kept: a tensor has many leaves.
        assembly ("memory-safe") {
            let buffer := mload(0x40)
            mstore8(buffer, 0x00)
            calldatacopy(add(buffer, 1), chunk.offset, length)
            // Reading past the end of calldata gives zeros.
            calldatacopy(add(add(buffer, 1), length), calldatasize(), sub(1024, length))
            leaf := keccak256(buffer, 1025)
        }
    }

    /// @notice The digest of two children.
    function node(bytes32 left, bytes32 right) internal pure returns (bytes32 parent) {
        assembly ("memory-safe") {
            let buffer := mload(0x40)
            mstore8(buffer, 0x01)
            mstore(add(buffer, 1), left)
            mstore(add(buffer, 33), right)
            parent := keccak256(buffer, 65)
        }
    }

    /// @notice The root of a tree, padded with `empty`.
    /// @dev Overwrites `leaves` on the way up.
    function merkleRoot(bytes32[] memory leaves, bytes32 empty) internal pure returns (bytes32) {
        uint256 count = leaves.length;
        if (count == 0) revert NoLeaves();
        while (count > 1) {
            uint256 parents = (count + 1) / 2;
            for (uint256 i = 0; i < parents; ++i) {
                leaves[i] = node(leaves[2 * i], 2 * i + 1 < count ? leaves[2 * i + 1] : empty);
            }
            empty = node(empty, empty);
            count = parents;
        }
        return leaves[0];
    }

    /// @notice The root that a leaf and its path lead to.
    /// @param depth depth of the tree, known from the committed header and never from the path.
    function openingRoot(bytes32 leaf, uint256 index, bytes32[] calldata path, uint256 depth)
        internal
        pure
        returns (bytes32 current)
    {
        if (depth > MAX_DEPTH) revert Depth(depth);
        if (path.length != depth) revert PathLength(depth, path.length);
        if (index >> depth != 0) revert LeafIndex(index, depth);
        current = leaf;
        for (uint256 level = 0; level < depth; ++level) {
            bytes32 sibling = path[level];
            current = (index >> level) & 1 == 0 ? node(current, sibling) : node(sibling, current);
        }
    }

    /// @notice Reverts unless `leaf` stands at `index` of the tree with this root.
    function verifyOpening(bytes32 root, bytes32 leaf, uint256 index, bytes32[] calldata path, uint256 depth)
        internal
        pure
    {
        bytes32 got = openingRoot(leaf, index, path, depth);
        if (got != root) revert WrongRoot(root, got);
    }

    /// @notice Bytes of one element: dtypes 1 to 4 are int8, int16, int32, int64.
    function itemBytes(uint8 dtype) internal pure returns (uint256) {
        if (dtype == 0 || dtype > 4) revert UnknownDtype(dtype);
        return 1 << (dtype - 1);
    }

    /// @notice The tensor root, from its header and the root of its tree.
    function tensorDigest(uint8 dtype, uint64[] memory dims, bytes32 root) internal pure returns (bytes32) {
        itemBytes(dtype);
        if (dims.length > 255) revert BadRank(dims.length);
        bytes memory header = abi.encodePacked(TAG_TENSOR, dtype, uint8(dims.length));
        // abi.encodePacked would pad the elements of an array to 32 bytes.
        for (uint256 axis = 0; axis < dims.length; ++axis) {
            if (dims[axis] == 0) revert ZeroDimension(axis);
            header = bytes.concat(header, bytes8(dims[axis]));
        }
        return keccak256(bytes.concat(header, root));
    }

    /// @notice The tensor root, from all of its bytes.
    function tensorRoot(uint8 dtype, uint64[] memory dims, bytes calldata data) internal pure returns (bytes32) {
        uint256 expected = itemBytes(dtype);
        for (uint256 axis = 0; axis < dims.length; ++axis) {
            expected *= dims[axis];
        }
        if (expected != data.length) revert TensorSize(expected, data.length);
        bytes32[] memory leaves = new bytes32[]((data.length + LEAF_BYTES - 1) / LEAF_BYTES);
        for (uint256 i = 0; i < leaves.length; ++i) {
            uint256 end = (i + 1) * LEAF_BYTES;
            leaves[i] = tensorLeaf(data[i * LEAF_BYTES:end < data.length ? end : data.length]);
        }
        return tensorDigest(dtype, dims, merkleRoot(leaves, EMPTY));
    }

    /// @notice The commitment of one or several tensors: `input` and `output` of a claim on an exact model.
    function tensorsRoot(bytes32[] memory roots) internal pure returns (bytes32) {
        if (roots.length == 0) revert NoTensors();
        return keccak256(abi.encodePacked(TAG_TENSORS, uint32(roots.length), roots));
    }

    /// @notice The digest of one operator descriptor.
    function descriptorLeaf(bytes memory descriptor) internal pure returns (bytes32) {
        if (descriptor.length == 0) revert EmptyDescriptor();
        return keccak256(bytes.concat(TAG_DESCRIPTOR, descriptor));
    }

    /// @notice The graph root, from its length and the root of its tree.
    function graphDigest(uint256 count, bytes32 root) internal pure returns (bytes32) {
        if (count == 0 || count > type(uint32).max) revert DescriptorCount(count);
        return keccak256(abi.encodePacked(TAG_GRAPH, uint32(count), root));
    }

    /// @notice The graph root, from all of its descriptors.
    function graphRoot(bytes[] memory descriptors) internal pure returns (bytes32) {
        bytes32[] memory leaves = new bytes32[](descriptors.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            leaves[i] = descriptorLeaf(descriptors[i]);
        }
        return graphDigest(descriptors.length, merkleRoot(leaves, EMPTY_DESCRIPTOR));
    }

    /// @notice The identity of an exact model: `model` of its claims.
    function modelDigest(bytes32 semantics, bytes32 graph, bytes memory inputSpec, bytes memory outputSpec)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encodePacked(TAG_MODEL, semantics, graph, keccak256(inputSpec), keccak256(outputSpec)));
    }

    /// @notice The commitment to the tensor roots of all operators, from their number and the root of their tree.
    function traceDigest(uint256 count, bytes32 root) internal pure returns (bytes32) {
        if (count == 0 || count > type(uint32).max) revert DescriptorCount(count);
        return keccak256(abi.encodePacked(TAG_TRACE, uint32(count), root));
    }

    /// @notice A claim field whose preimage stays with its owner.
    function hiddenField(bytes32 salt, bytes32 root) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(TAG_HIDDEN, salt, root));
    }
}
