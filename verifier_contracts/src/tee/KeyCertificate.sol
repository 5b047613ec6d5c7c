// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ISignerRegistry} from "src/interfaces/ISignerRegistry.sol";

/// @title What binds a key to evidence, as in vml/tee/binding.py
/// @notice digest = SHA-256("vml/tee-key/v1" || CBOR {1: alg, 2: public key, 3: model, 4: policy, 5: epoch, 6: not after})
/// in deterministic CBOR (RFC 8949, section 4.2.1): every number in its shortest form. A seventh entry is the digest of
/// the evidence of GPUs, where there are any.
library KeyCertificate {
    uint8 internal constant SECP256K1 = 1;
    uint8 internal constant P256 = 2;

    /// @notice What evidence carries.
    function digest(ISignerRegistry.Certificate calldata certificate) internal pure returns (bytes32) {
        if (certificate.algorithm != SECP256K1 && certificate.algorithm != P256) {
            revert ISignerRegistry.AlgorithmUnknown(certificate.algorithm);
        }
        bool withGpus = certificate.gpus != 0;
        bytes memory key = abi.encodePacked(
            "vml/tee-key/v1",
            withGpus ? bytes2(0xa701) : bytes2(0xa601),
            certificate.algorithm,
            hex"025840",
            certificate.x,
            certificate.y
        );
        bytes memory use = abi.encodePacked(
            hex"035820",
            certificate.model,
            hex"045820",
            certificate.policy,
            hex"05",
            number(certificate.epoch),
            hex"06",
            number(certificate.notAfter)
        );
        if (withGpus) use = abi.encodePacked(use, hex"075820", certificate.gpus);
        return sha256(bytes.concat(key, use));
    }

    /// @notice keccak256(algorithm || public key).
    function keyId(uint8 algorithm, bytes32 x, bytes32 y) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(algorithm, x, y));
    }

    /// @notice Of a secp256k1 key the Ethereum address.
    function signer(bytes32 x, bytes32 y) internal pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encodePacked(x, y)))));
    }

    /// @notice A number as CBOR.
    function number(uint64 value) internal pure returns (bytes memory) {
        if (value < 24) return abi.encodePacked(uint8(value));
        if (value <= type(uint8).max) return abi.encodePacked(hex"18", uint8(value));
        if (value <= type(uint16).max) return abi.encodePacked(hex"19", uint16(value));
        if (value <= type(uint32).max) return abi.encodePacked(hex"1a", uint32(value));
        return abi.encodePacked(hex"1b", value);
    }
}
