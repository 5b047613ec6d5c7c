// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC165} from "@openzeppelin/contracts/utils/introspection/ERC165.sol";
import {PinnedEntry} from "src/adapters/PinnedEntry.sol";
import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {IVmlVerifier} from "src/interfaces/IVmlVerifier.sol";
import {IProofVerifier} from "src/interfaces/erc/IERC8274.sol";

/// @title ERC-8274's IProofVerifier for one registry entry under one scheme
/// @notice inputHash and outputHash are the claim's `input` and `output`, `proof` is what the router takes. The standard
/// has no place for a context: `metadata` is empty for the zero context ("replayable on purpose"), or the 32 bytes of a
/// context, such as Erc8274AgentVerifier makes for each task. Answers and never reverts.
/// @dev One scheme, because proofSystem() must say what was verified: another scheme of the same entry is refused.
contract Erc8274Verifier is IProofVerifier, PinnedEntry, ERC165 {
    bytes4 public immutable selector;
    bytes32 public immutable proofProfile;
    string public proofSystem;

    error NotAParadigm(string paradigm);

    /// @param paradigm the trust model that the standard names: zk, op, tee or attestation
    constructor(IVmlRouter router_, bytes32 key, bytes4 selector_, string memory paradigm)
        PinnedEntry(router_, key, false)
    {
        bytes32 named = keccak256(bytes(paradigm));
        if (named != keccak256("zk") && named != keccak256("op") && named != keccak256("tee")) {
            if (named != keccak256("attestation")) revert NotAParadigm(paradigm);
        }
        (IVmlVerifier verifier, IVmlRouter.RouteState state) = router_.routes(selector_);
        if (state == IVmlRouter.RouteState.Unknown) revert IVmlRouter.RouteUnknown(selector_);
        selector = selector_;
        proofSystem = string.concat(paradigm, "/", verifier.scheme());
        bytes32 deploymentSalt = keccak256(abi.encode(block.chainid, router_, key, selector_));
        proofProfile = keccak256(abi.encodePacked(proofSystem, deploymentSalt));
    }

    /// @inheritdoc IProofVerifier
    function verify(bytes32 inputHash, bytes32 outputHash, bytes calldata metadata, bytes calldata proof)
        external
        view
        returns (bool)
    {
        if (proof.length < 4 || bytes4(proof[:4]) != selector) return false;
        if (metadata.length != 0 && metadata.length != 32) return false;
        bytes32 context = metadata.length == 0 ? bytes32(0) : bytes32(metadata);
        return _proved(inputHash, outputHash, context, proof);
    }

    function supportsInterface(bytes4 interfaceId) public view override returns (bool) {
        return interfaceId == type(IProofVerifier).interfaceId || super.supportsInterface(interfaceId);
    }
}
