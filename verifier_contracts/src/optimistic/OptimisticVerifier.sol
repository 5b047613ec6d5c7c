// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC165, IERC165} from "@openzeppelin/contracts/utils/introspection/ERC165.sol";
import {IDisputeGame} from "src/interfaces/IDisputeGame.sol";
import {IVmlVerifier} from "src/interfaces/IVmlVerifier.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";

/// @title Claims that were asserted with a bond and that nobody refuted
/// @notice Proved is what is final in one dispute game, under terms that the model's owner accepts: anybody offers any
/// terms, also ones whose window closes before somebody could look. A proof says which assertion it is, as
/// abi.encode(address asserter, bytes32 terms, bytes32 trace, uint256 nonce); the claim is the rest of its name.
/// Metadata is abi.encode(bytes32[]): the digests of the accepted terms.
contract OptimisticVerifier is IVmlVerifier, ERC165 {
    uint256 private constant PROOF_BYTES = 128;
    uint256 private constant WORD = 32;

    /// @inheritdoc IVmlVerifier
    string public constant scheme = "optimistic/1";

    /// @notice Where the assertions are.
    IDisputeGame public immutable game;

    /// @notice The metadata is not the encoding of a list; whoever registered it has to do so again.
    error MetadataMalformed();
    /// @notice The proof is not the encoding of an assertion's four fields, which is 128 bytes.
    error NotCanonical();
    /// @notice The model's owner does not accept what was asserted under these terms.
    error TermsNotAccepted(bytes32 terms);

    constructor(IDisputeGame game_) {
        game = game_;
    }

    /// @inheritdoc IVmlVerifier
    /// @dev False where the assertion is not final; everything else that is wrong has an error of its own.
    function verify(VmlClaim.Claim calldata claim, bytes calldata metadata, bytes calldata proof)
        external
        view
        returns (bool)
    {
        if (proof.length != PROOF_BYTES || uint256(bytes32(proof)) >> 160 != 0) revert NotCanonical();
        IDisputeGame.Assertion memory assertion;
        assertion.claim = claim;
        (assertion.asserter, assertion.terms, assertion.trace, assertion.nonce) =
            abi.decode(proof, (address, bytes32, bytes32, uint256));
        if (!_accepts(metadata, assertion.terms)) revert TermsNotAccepted(assertion.terms);
        return game.recordOf(game.idOf(assertion)).status == IDisputeGame.Status.Final;
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) public view override(ERC165, IERC165) returns (bool) {
        return interfaceId == type(IVmlVerifier).interfaceId || super.supportsInterface(interfaceId);
    }

    /// @dev Reads the one canonical encoding of a list in place; no offset is followed.
    function _accepts(bytes calldata metadata, bytes32 terms) private pure returns (bool) {
        if (metadata.length < 2 * WORD || metadata.length % WORD != 0 || uint256(bytes32(metadata)) != WORD) {
            revert MetadataMalformed();
        }
        if (uint256(bytes32(metadata[WORD:])) != metadata.length / WORD - 2) revert MetadataMalformed();
        for (uint256 at = 2 * WORD; at < metadata.length; at += WORD) {
            if (bytes32(metadata[at:]) == terms) return true;
        }
        return false;
    }
}
