// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title The verifier that ezkl generates for one circuit
/// @notice Answers true, or reverts with no data. ezkl leaves `view` out of its declaration; nothing is written.
/// @dev It reads its arguments at fixed places of the calldata, so it must only ever be called with arguments encoded
/// canonically (EzklAdapter.NotCanonical).
interface IEzklVerifier {
    function verifyProof(bytes calldata proof, uint256[] calldata instances) external view returns (bool success);
}

/// @title The verifier that ezkl generates for all circuits
/// @notice A circuit comes as an argument, the verifying key artifact (VKA). Anybody may register one, so that only
/// `vkaDigest` tells which circuit `success` speaks of. It does not fix how long a circuit's proof is either.
/// @dev What it returns after these two words is no ABI encoding; nobody should declare it.
interface IEzklReusableVerifier {
    function verifyProof(bytes calldata proof, uint256[] calldata instances, bytes32[] calldata vka)
        external
        view
        returns (bool success, bytes32 vkaDigest);

    function registerVka(bytes32[] calldata vka) external returns (bytes32 vkaDigest);
}
