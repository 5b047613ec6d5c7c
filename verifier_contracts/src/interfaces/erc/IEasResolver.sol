// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title What the Ethereum Attestation Service asks of a schema's resolver
/// @notice Selectors as in EAS 1.x, where the last four are payable and may write. EAS sends value only to a resolver
/// that says it is payable, so one that says no can be view.
interface IEasResolver {
    struct Attestation {
        bytes32 uid;
        bytes32 schema;
        uint64 time;
        uint64 expirationTime;
        uint64 revocationTime;
        bytes32 refUID;
        address recipient;
        address attester;
        bool revocable;
        bytes data;
    }

    function isPayable() external view returns (bool);

    /// @return true if the attestation may be made
    function attest(Attestation calldata attestation) external view returns (bool);
    function multiAttest(Attestation[] calldata attestations, uint256[] calldata values) external view returns (bool);

    /// @return true if the attestation may be revoked
    function revoke(Attestation calldata attestation) external view returns (bool);
    function multiRevoke(Attestation[] calldata attestations, uint256[] calldata values) external view returns (bool);
}
