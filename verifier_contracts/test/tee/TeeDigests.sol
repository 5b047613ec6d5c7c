// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ISignerRegistry} from "src/interfaces/ISignerRegistry.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {DcapOutput} from "src/tee/DcapOutput.sol";
import {KeyCertificate} from "src/tee/KeyCertificate.sol";
import {Receipts} from "src/tee/Receipts.sol";
import {Signatures} from "src/tee/Signatures.sol";

/// @title Opens the internal functions of the libraries to tests
contract TeeDigests {
    function certificateDigest(ISignerRegistry.Certificate calldata certificate) external pure returns (bytes32) {
        return KeyCertificate.digest(certificate);
    }

    function keyId(uint8 algorithm, bytes32 x, bytes32 y) external pure returns (bytes32) {
        return KeyCertificate.keyId(algorithm, x, y);
    }

    function signer(bytes32 x, bytes32 y) external pure returns (address) {
        return KeyCertificate.signer(x, y);
    }

    function claimDigest(VmlClaim.Claim calldata claim) external pure returns (bytes32) {
        return Receipts.claimDigest(claim);
    }

    function receiptDigest(bytes32 claim, bytes32 id, uint64 epoch, uint64 sequence, uint64 issuedAt)
        external
        pure
        returns (bytes32)
    {
        return Receipts.digest(claim, id, epoch, sequence, issuedAt);
    }

    function batchDigest(bytes32 id, uint64 epoch, uint32 count, bytes32 root) external pure returns (bytes32) {
        return Receipts.batchDigest(id, epoch, count, root);
    }

    function recover(bytes32 digest, bytes calldata signature) external pure returns (address) {
        return Signatures.recover(digest, signature);
    }

    function isP256(bytes32 digest, bytes32 r, bytes32 s, bytes32 x, bytes32 y) external view returns (bool) {
        return Signatures.isP256(digest, r, s, x, y, false);
    }

    function checkOutput(
        bytes calldata output,
        ISignerRegistry.Rules calldata rules,
        bytes32 certificate,
        bytes32 nonce
    ) external pure returns (bool simulated) {
        return DcapOutput.check(output, rules, certificate, nonce);
    }
}
