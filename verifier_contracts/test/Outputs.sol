// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {OutputLib} from "src/libraries/OutputLib.sol";

/// @title Opens OutputLib to tests
contract Outputs {
    function commitment(OutputLib.Tensor[] calldata tensors) external pure returns (bytes32) {
        return OutputLib.commitment(tensors);
    }

    function requireOutput(OutputLib.Tensor[] calldata tensors, bytes32 output) external pure {
        OutputLib.requireOutput(tensors, output);
    }

    function count(OutputLib.Tensor calldata tensor) external pure returns (uint256) {
        return OutputLib.count(tensor);
    }

    function valueAt(OutputLib.Tensor calldata tensor, uint256 index) external pure returns (int256) {
        return OutputLib.valueAt(tensor, index);
    }

    function values(OutputLib.Tensor calldata tensor) external pure returns (int256[] memory) {
        return OutputLib.values(tensor);
    }

    function ezklCommitment(uint64[][] calldata shapes, uint256[] calldata words) external pure returns (bytes32) {
        return OutputLib.ezklCommitment(shapes, words);
    }

    function requireEzklOutput(uint64[][] calldata shapes, uint256[] calldata words, bytes32 output) external pure {
        OutputLib.requireEzklOutput(shapes, words, output);
    }

    function ezklValues(uint256[] calldata words) external pure returns (int256[] memory) {
        return OutputLib.ezklValues(words);
    }

    function argmax(int256[] calldata all) external pure returns (uint256) {
        return OutputLib.argmax(all);
    }
}
