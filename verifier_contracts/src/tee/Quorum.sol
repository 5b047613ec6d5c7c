// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ISignerRegistry} from "src/interfaces/ISignerRegistry.sol";
import {Signatures} from "src/tee/Signatures.sol";

/// @title The word of as many attestors as the rules ask for
library Quorum {
    uint256 private constant SIGNATURE_BYTES = 65;

    /// @notice Reverts unless exactly `rules.threshold` of the attestors signed.
    /// @dev Signers strictly ascend, so none counts twice, also where the list names one twice; and the list ascends, so
    /// one walk along it finds them all.
    function check(ISignerRegistry.Rules calldata rules, bytes32 digest, bytes calldata signatures) internal pure {
        uint256 threshold = rules.threshold;
        if (threshold == 0) revert ISignerRegistry.ModeNotInRules(ISignerRegistry.Mode.Quorum);
        uint256 expected = threshold * SIGNATURE_BYTES;
        if (signatures.length != expected) revert ISignerRegistry.SignaturesLength(expected, signatures.length);
        address previous = address(0);
        uint256 at = 0;
        for (uint256 i = 0; i < threshold; ++i) {
            address signer = Signatures.recover(digest, signatures[i * SIGNATURE_BYTES:(i + 1) * SIGNATURE_BYTES]);
            if (signer == address(0)) revert ISignerRegistry.SignatureInvalid(i);
            if (signer <= previous) revert ISignerRegistry.SignersNotAscending(previous, signer);
            while (at < rules.attestors.length && rules.attestors[at] != signer) ++at;
            if (at == rules.attestors.length) revert ISignerRegistry.NotAnAttestor(signer);
            previous = signer;
        }
    }
}
