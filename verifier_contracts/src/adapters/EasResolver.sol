// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {PinnedEntry} from "src/adapters/PinnedEntry.sol";
import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {IEasResolver} from "src/interfaces/erc/IEasResolver.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";

/// @title A resolver under which EAS makes an attestation only of a claim that was proved
/// @notice First VmlRouter.record, then attest: EAS stores an attestation's data for ever, so it holds the claim and not
/// the proof. Whoever attests, the statement is the same. Answers and never reverts; reads and never writes, so it does
/// not matter who asks.
contract EasResolver is IEasResolver, PinnedEntry {
    string public constant SCHEMA = "bytes32 model,bytes32 input,bytes32 output,bytes32 context,bytes4 selector";

    /// @notice EAS's uid of SCHEMA with this resolver, irrevocable. Under another schema the same bytes would say something
    /// else, so attestations under any other are refused.
    bytes32 public immutable schemaUid;

    constructor(IVmlRouter router_, bytes32 entry_, bool isPolicy_) PinnedEntry(router_, entry_, isPolicy_) {
        schemaUid = keccak256(abi.encodePacked(SCHEMA, address(this), false));
    }

    /// @inheritdoc IEasResolver
    function isPayable() external pure returns (bool) {
        return false;
    }

    /// @inheritdoc IEasResolver
    function attest(Attestation calldata attestation) external view returns (bool) {
        return _attestable(attestation);
    }

    /// @inheritdoc IEasResolver
    function multiAttest(Attestation[] calldata attestations, uint256[] calldata) external view returns (bool) {
        for (uint256 i = 0; i < attestations.length; ++i) {
            if (!_attestable(attestations[i])) return false;
        }
        return true;
    }

    /// @inheritdoc IEasResolver
    /// @dev That a claim was proved does not cease to be so.
    function revoke(Attestation calldata) external pure returns (bool) {
        return false;
    }

    /// @inheritdoc IEasResolver
    function multiRevoke(Attestation[] calldata, uint256[] calldata) external pure returns (bool) {
        return false;
    }

    function _attestable(Attestation calldata attestation) private view returns (bool) {
        if (attestation.schema != schemaUid || attestation.data.length != 160) return false;
        (bytes32 proved, bytes32 input, bytes32 output, bytes32 context, bytes32 word) =
            abi.decode(attestation.data, (bytes32, bytes32, bytes32, bytes32, bytes32));
        bytes4 selector = bytes4(word);
        if (word != bytes32(selector)) return false;
        bytes32 digest = VmlClaim.digest(VmlClaim.Claim(proved, input, output, context));
        if (!isPolicy) return _stands(entry, digest, selector);

        IVmlRouter.Policy memory policy = router.policy(entry);
        if (!_contains(policy.selectors, selector)) return false;
        for (uint256 i = 0; i < policy.keys.length; ++i) {
            if (_stands(policy.keys[i], digest, selector)) return true;
        }
        return false;
    }

    /// @dev Recorded, and nothing has become known since that would have the router refuse it today.
    function _stands(bytes32 key, bytes32 digest, bytes4 selector) private view returns (bool) {
        if (router.recordedAt(key, digest, selector) == 0) return false;
        (, IVmlRouter.RouteState state) = router.routes(selector);
        if (state != IVmlRouter.RouteState.Active || router.equivocated(key, selector)) return false;
        (, bool deprecated,, address metadata) = router.registry().resolve(key, selector);
        return !deprecated && metadata != address(0);
    }

    function _contains(bytes4[] memory list, bytes4 wanted) private pure returns (bool) {
        for (uint256 i = 0; i < list.length; ++i) {
            if (list[i] == wanted) return true;
        }
        return false;
    }
}
