// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {PinnedEntry} from "src/adapters/PinnedEntry.sol";
import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {IERC8004ValidationRegistry} from "src/interfaces/erc/IERC8004.sol";
import {ContextHere} from "src/libraries/ContextHere.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";

/// @title A validator of ERC-8004 that answers 100 for a proof, and nothing else
/// @notice An agent asks for validation with requestHash = requestHashOf(request); the file at its requestURI is
/// abi.encode(request). Then anybody brings the proof. There is no answer of 0: that nobody brought a proof proves nothing.
contract Erc8004Validator is PinnedEntry {
    /// @notice What the agent says: this model, on this input, gave this output.
    /// @param salt makes requests for the same inference differ
    struct Request {
        uint256 agentId;
        bytes32 model;
        bytes32 input;
        bytes32 output;
        bytes32 salt;
    }

    string public constant TAG = "vml";

    IERC8004ValidationRegistry public immutable validations;

    event Validated(bytes32 indexed requestHash, uint256 indexed agentId, bytes32 digest, bytes4 selector);

    /// @notice This validator was not asked, or about another agent.
    error NotAsked(bytes32 requestHash);
    error AlreadyValidated(bytes32 requestHash);

    constructor(IVmlRouter router_, bytes32 entry_, bool isPolicy_, IERC8004ValidationRegistry validations_)
        PinnedEntry(router_, entry_, isPolicy_)
    {
        validations = validations_;
    }

    function requestHashOf(Request calldata request) public pure returns (bytes32) {
        return keccak256(abi.encode(request));
    }

    /// @notice The claim to prove: its context is this request to this validator on this chain.
    function claimOf(Request calldata request) public view returns (VmlClaim.Claim memory) {
        bytes32 context = ContextHere.commitment(address(0), requestHashOf(request));
        return VmlClaim.Claim(request.model, request.input, request.output, context);
    }

    /// @notice Has the registry hold 100 for the request, and the claim's digest as responseHash; reverts unless proved.
    function validate(Request calldata request, bytes calldata proof) external {
        bytes32 requestHash = requestHashOf(request);
        (address validator, uint256 agentId,, bytes32 responseHash,,) = validations.getValidationStatus(requestHash);
        if (validator != address(this) || agentId != request.agentId) revert NotAsked(requestHash);
        if (responseHash != 0) revert AlreadyValidated(requestHash);
        VmlClaim.Claim memory claim = claimOf(request);
        bytes4 selector = _verify(claim, proof);
        bytes32 digest = VmlClaim.digest(claim);
        emit Validated(requestHash, agentId, digest, selector);
        validations.validationResponse(requestHash, 100, "", digest, TAG);
    }
}
