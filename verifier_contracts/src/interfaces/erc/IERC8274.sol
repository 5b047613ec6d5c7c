// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title ERC-8274's inner layer (draft): is this proof valid for this input and output?
/// @notice ERC-165 id 0x86761e49. `verify` may be implemented as view; the selector is the same.
interface IProofVerifier {
    /// @param inputHash the claim's `input`
    /// @param outputHash the claim's `output`
    /// @param metadata configuration that the outer layer holds
    /// @param proof evidence for this one inference
    function verify(bytes32 inputHash, bytes32 outputHash, bytes calldata metadata, bytes calldata proof)
        external
        returns (bool);

    /// @notice "{paradigm}/{variant}", the paradigm being zk, op, tee or attestation.
    function proofSystem() external view returns (string memory);

    /// @notice keccak256(abi.encodePacked(proofSystem(), deploymentSalt)).
    function proofProfile() external view returns (bytes32);
}

/// @title ERC-8274's outer layer (draft): for this task, did this agent make this claim, and is it proved?
/// @notice ERC-165 id 0xf2fd7e98.
interface IAgentVerifier {
    event VerificationCompleted(
        bytes32 indexed taskId,
        bytes32 indexed agentId,
        bytes32 indexed verificationDigest,
        bool valid,
        bytes32 inputHash,
        bytes32 outputHash,
        bytes32 agentProofProfile
    );

    /// @return valid whether the agent is authorised and the proof is valid
    /// @return verificationDigest
    /// keccak256(abi.encode(taskId, agentId, inputHash, outputHash, valid, agentProofProfile))
    function verify(bytes32 taskId, bytes32 agentId, bytes32 inputHash, bytes32 outputHash, bytes calldata proof)
        external
        returns (bool valid, bytes32 verificationDigest);
}
