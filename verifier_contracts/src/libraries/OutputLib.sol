// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {VmlCommitment} from "src/libraries/VmlCommitment.sol";

/// @title From a claim's `output` to the numbers behind it
/// @notice A claim holds a commitment. Whoever uses the result brings the output itself; the first call below checks
/// that it is what the claim commits to, and the others read it.
/// Exact models commit to typed tensors (docs/commitments.md), ezkl to field elements (docs/claim-ezkl.md).
library OutputLib {
    /// @param dtype 1 to 4: int8, int16, int32, int64
    /// @param data the elements in row-major order, two's complement, big-endian
    struct Tensor {
        uint8 dtype;
        uint64[] dims;
        bytes data;
    }

    bytes1 internal constant TAG_EZKL_PUBLIC = 0x08;
    /// @notice The order of BN254's scalar field.
    uint256 internal constant FIELD = 0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001;
    uint256 internal constant EZKL_VALUES = 1 << 127;

    error OutputMismatch(bytes32 claimed, bytes32 got);
    error NoSuchElement(uint256 index, uint256 count);
    error NoElements();
    error TooManyTensors(uint256 count);
    error WordCount(uint256 expected, uint256 got);
    /// @notice Not a canonical field element, or no integer that ezkl computes with.
    error NotAValue(uint256 word);

    // ---- exact models ----------------------------------------------------------------------------------------------

    /// @notice `output` of a claim whose model has these outputs, in graph order.
    function commitment(Tensor[] calldata tensors) internal pure returns (bytes32) {
        bytes32[] memory roots = new bytes32[](tensors.length);
        for (uint256 i = 0; i < tensors.length; ++i) {
            roots[i] = VmlCommitment.tensorRoot(tensors[i].dtype, tensors[i].dims, tensors[i].data);
        }
        return VmlCommitment.tensorsRoot(roots);
    }

    /// @notice Reverts unless these are the tensors that `output` commits to.
    function requireOutput(Tensor[] calldata tensors, bytes32 output) internal pure {
        bytes32 got = commitment(tensors);
        if (got != output) revert OutputMismatch(output, got);
    }

    /// @notice How many elements a checked tensor has.
    function count(Tensor calldata tensor) internal pure returns (uint256) {
        return tensor.data.length / VmlCommitment.itemBytes(tensor.dtype);
    }

    /// @notice One element of a checked tensor, counted in row-major order.
    function valueAt(Tensor calldata tensor, uint256 index) internal pure returns (int256 value) {
        uint256 elements = count(tensor);
        if (index >= elements) revert NoSuchElement(index, elements);
        return _element(tensor.data, VmlCommitment.itemBytes(tensor.dtype), index);
    }

    /// @notice All elements of a checked tensor.
    function values(Tensor calldata tensor) internal pure returns (int256[] memory all) {
        uint256 size = VmlCommitment.itemBytes(tensor.dtype);
        all = new int256[](tensor.data.length / size);
        for (uint256 i = 0; i < all.length; ++i) {
            all[i] = _element(tensor.data, size, i);
        }
    }

    // ---- ezkl ------------------------------------------------------------------------------------------------------

    /// @notice `output` (or `input`) of a claim under ezkl with these public values.
    /// @param shapes of each tensor, in graph order
    /// @param words the instances of all tensors, one tensor after the other
    function ezklCommitment(uint64[][] memory shapes, uint256[] memory words) internal pure returns (bytes32) {
        if (shapes.length == 0 || shapes.length > type(uint32).max) revert TooManyTensors(shapes.length);
        bytes memory header = abi.encodePacked(TAG_EZKL_PUBLIC, uint32(shapes.length));
        uint256 expected = 0;
        for (uint256 i = 0; i < shapes.length; ++i) {
            uint64[] memory shape = shapes[i];
            uint256 elements = 1;
            header = abi.encodePacked(header, uint32(shape.length));
            for (uint256 axis = 0; axis < shape.length; ++axis) {
                header = abi.encodePacked(header, shape[axis]);
                elements *= shape[axis];
            }
            expected += elements;
        }
        if (expected != words.length) revert WordCount(expected, words.length);
        return keccak256(abi.encodePacked(header, words));
    }

    /// @notice Reverts unless these are the words that `output` commits to.
    function requireEzklOutput(uint64[][] memory shapes, uint256[] memory words, bytes32 output) internal pure {
        bytes32 got = ezklCommitment(shapes, words);
        if (got != output) revert OutputMismatch(output, got);
    }

    /// @notice The signed integer that an instance stands for: v mod r for |v| < 2^127.
    function ezklValue(uint256 word) internal pure returns (int256 value) {
        if (word >= FIELD) revert NotAValue(word);
        // Both below 2^254, so neither cast changes anything.
        value = word <= FIELD / 2 ? int256(word) : -int256(FIELD - word);
        if (value >= int256(EZKL_VALUES) || value <= -int256(EZKL_VALUES)) revert NotAValue(word);
    }

    /// @notice The signed integers behind checked words.
    function ezklValues(uint256[] memory words) internal pure returns (int256[] memory all) {
        all = new int256[](words.length);
        for (uint256 i = 0; i < all.length; ++i) {
            all[i] = ezklValue(words[i]);
        }
    }

    // ---- both ------------------------------------------------------------------------------------------------------

    /// @notice Where the largest value stands; the first of several.
    function argmax(int256[] memory all) internal pure returns (uint256 best) {
        if (all.length == 0) revert NoElements();
        for (uint256 i = 1; i < all.length; ++i) {
            if (all[i] > all[best]) best = i;
        }
    }

    /// @dev Sign-extends the `size` bytes at `index`, which must lie within `data`.
    function _element(bytes calldata data, uint256 size, uint256 index) private pure returns (int256 value) {
        assembly ("memory-safe") {
            value := sar(sub(256, shl(3, size)), calldataload(add(data.offset, mul(index, size))))
        }
    }
}
