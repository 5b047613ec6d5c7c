// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {VmlCommitment} from "src/libraries/VmlCommitment.sol";
import {Cursor, Descriptor} from "./steps/Descriptor.sol";

/// @title Reads the outside tensors of a model, the bytes of encode_specs in vml/model/graph.py
/// @notice n u32; each: length u16 and name, length u8 and outside type, node u32, dtype u8, rank u8, dims u64 each,
/// lo i64, hi i64, saturate u8, and the scale: length u16 and numerator, length u16 and denominator. Big-endian.
library TensorSpecs {
    /// @dev Of a tensor without name, outside type, dims and scale.
    uint256 private constant LEAST_BYTES = 30;

    /// @notice The nodes that hold the tensors, in order, and the length of abi.encode(bytes[]) over the descriptors of
    /// inputs with these headers.
    function nodes(bytes memory spec) internal pure returns (uint32[] memory result, uint256 length) {
        Cursor memory cursor = Cursor(spec, 0);
        uint256 count = Descriptor.unsigned(cursor, 4);
        if (count == 0) revert VmlCommitment.NoTensors();
        if (count > spec.length / LEAST_BYTES) {
            revert Descriptor.DescriptorEnds(spec.length, 4 + LEAST_BYTES * count);
        }
        result = new uint32[](count);
        length = 64;
        for (uint256 k = 0; k < count; ++k) {
            Descriptor.skip(cursor, Descriptor.unsigned(cursor, 2));
            Descriptor.skip(cursor, Descriptor.unsigned(cursor, 1));
            result[k] = uint32(Descriptor.unsigned(cursor, 4));
            Descriptor.skip(cursor, 1);
            uint256 rank = Descriptor.unsigned(cursor, 1);
            Descriptor.skip(cursor, 8 * rank);
            // Where it begins, its length, and 24 bytes and the dims in whole words.
            length += 64 + (24 + 8 * rank + 31) / 32 * 32;
            Descriptor.skip(cursor, 17);
            Descriptor.skip(cursor, Descriptor.unsigned(cursor, 2));
            Descriptor.skip(cursor, Descriptor.unsigned(cursor, 2));
        }
        Descriptor.end(cursor);
    }
}
