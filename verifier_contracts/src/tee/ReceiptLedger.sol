// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {Receipts} from "src/tee/Receipts.sol";

/// @title Takes each receipt once, for whoever calls
/// @notice A verifier cannot: it answers the same to everybody, however often. Consumers whose claims have a context
/// that names one request need no ledger. Every caller has numbers of its own, so nobody can use up another's.
contract ReceiptLedger {
    bytes4 private constant TEE = bytes4(keccak256("tee/1"));

    IVmlRouter public immutable router;

    mapping(address consumer => mapping(bytes32 keyId => mapping(uint256 word => uint256 bits))) private _taken;

    event Consumed(address indexed consumer, bytes32 indexed keyId, uint64 indexed sequence, bytes32 claim);

    /// @notice Proved, but not by a receipt.
    error NotAReceipt(bytes4 selector);
    error SequenceTaken(address consumer, bytes32 keyId, uint64 sequence);

    constructor(IVmlRouter router_) {
        router = router_;
    }

    /// @notice Reverts unless the claim is proved by a receipt whose key and sequence number the caller never consumed.
    /// @param key the registry entry that the caller believes, as in IVmlRouter.verifyEntry
    function consume(bytes32 key, VmlClaim.Claim calldata claim, bytes calldata proof)
        external
        returns (bytes32 keyId, uint64 sequence)
    {
        bytes4 selector = router.verifyEntry(key, claim, proof);
        if (selector != TEE) revert NotAReceipt(selector);
        // Before a receipt stands the router's selector.
        bytes calldata receipt = proof[4:];
        (,, keyId) = Receipts.head(receipt);
        (, sequence,) = Receipts.numbers(receipt);
        (uint256 word, uint256 bit) = _placeOf(sequence);
        mapping(uint256 => uint256) storage taken = _taken[msg.sender][keyId];
        if (taken[word] & bit != 0) revert SequenceTaken(msg.sender, keyId, sequence);
        taken[word] |= bit;
        emit Consumed(msg.sender, keyId, sequence, VmlClaim.digest(claim));
    }

    function isConsumed(address consumer, bytes32 keyId, uint64 sequence) external view returns (bool) {
        (uint256 word, uint256 bit) = _placeOf(sequence);
        return _taken[consumer][keyId][word] & bit != 0;
    }

    function _placeOf(uint64 sequence) private pure returns (uint256 word, uint256 bit) {
        return (sequence >> 8, 1 << (sequence & 0xff));
    }
}
