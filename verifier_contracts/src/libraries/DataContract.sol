// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title Bytes kept as the code of a contract
/// @notice Reading code costs 2,600 gas and 3 a word; storage costs 2,100 a word. A leading zero byte (STOP) keeps the
/// data from ever running.
library DataContract {
    /// @notice The code limit of EIP-170, less the leading byte.
    uint256 internal constant MAX_BYTES = 24_575;

    error DataTooLong(uint256 length);
    error DataNotStored();

    /// @notice Stores `data` in a new contract.
    function write(bytes memory data) internal returns (address pointer) {
        if (data.length > MAX_BYTES) revert DataTooLong(data.length);
        // PUSH2 length+1, DUP1, PUSH1 10, PUSH0, CODECOPY, PUSH0, RETURN: ten bytes, then the code to keep.
        bytes memory creation = abi.encodePacked(hex"61", uint16(data.length + 1), hex"80600a5f395ff300", data);
        assembly ("memory-safe") {
            pointer := create(0, add(creation, 32), mload(creation))
        }
        if (pointer == address(0)) revert DataNotStored();
    }

    /// @notice What `write` stored; empty where there is no contract.
    function read(address pointer) internal view returns (bytes memory data) {
        uint256 size = pointer.code.length;
        if (size < 2) return data;
        data = new bytes(size - 1);
        assembly ("memory-safe") {
            extcodecopy(pointer, add(data, 32), 1, sub(size, 1))
        }
    }
}
