// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC165} from "@openzeppelin/contracts/utils/introspection/ERC165.sol";
import {Erc8274Verifier} from "src/adapters/Erc8274Verifier.sol";
import {IAgentVerifier} from "src/interfaces/erc/IERC8274.sol";
import {ContextHere} from "src/libraries/ContextHere.sol";

/// @title ERC-8274's IAgentVerifier for one agent: a proof serves one task of one caller
/// @notice The agent proves under the context that contextOf gives. The caller is part of it: task 1 of one settlement
/// contract is not task 1 of another.
/// @dev Not valid means "not proved in this call", for which a worthless proof suffices: it says nothing against an agent.
contract Erc8274AgentVerifier is IAgentVerifier, ERC165 {
    Erc8274Verifier public immutable verifier;
    bytes32 public immutable agent;

    constructor(Erc8274Verifier verifier_, bytes32 agent_) {
        verifier = verifier_;
        agent = agent_;
    }

    /// @notice The context of a claim for this task.
    /// @param caller the settlement contract, which calls verify
    function contextOf(address caller, bytes32 taskId) public view returns (bytes32) {
        return ContextHere.commitment(caller, taskId);
    }

    /// @inheritdoc IAgentVerifier
    function verify(bytes32 taskId, bytes32 agentId, bytes32 inputHash, bytes32 outputHash, bytes calldata proof)
        external
        returns (bool valid, bytes32 verificationDigest)
    {
        bytes memory context = abi.encode(contextOf(msg.sender, taskId));
        bytes32 profile = verifier.proofProfile();
        valid = agentId == agent && verifier.verify(inputHash, outputHash, context, proof);
        verificationDigest = keccak256(abi.encode(taskId, agentId, inputHash, outputHash, valid, profile));
        emit VerificationCompleted(taskId, agentId, verificationDigest, valid, inputHash, outputHash, profile);
    }

    function supportsInterface(bytes4 interfaceId) public view override returns (bool) {
        return interfaceId == type(IAgentVerifier).interfaceId || super.supportsInterface(interfaceId);
    }
}
