// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";

/// @title One way to prove a claim: an adapter in front of a proof system
/// @notice Stands behind a VmlRouter. It keeps no state that a proof can change and knows no model: what belongs to one
/// model, such as a verifying key, comes as `metadata` from the ModelRegistry, where the model's owner put it.
interface IVmlVerifier is IERC165 {
    /// @notice The scheme of the proof envelope (docs/proof-format.md), for example
    /// "ezkl/23.0.5/kzg-bn254/input-public/model-public". Constant. The selector of the route, and the first four bytes
    /// of every proof under it, is bytes4(keccak256(bytes(scheme()))).
    function scheme() external view returns (string memory);

    /// @notice True if and only if the claim is proved. Failure is false or a revert; the router treats both alike.
    /// @dev Called with STATICCALL. Must refuse every encoding of a proof but one, and must have the proof bind all four
    /// fields of the claim.
    /// @param claim what is said to be proved
    /// @param metadata what the model's owner registered for this scheme, in this verifier's own format
    /// @param proof this verifier's own encoding, without the selector
    function verify(VmlClaim.Claim calldata claim, bytes calldata metadata, bytes calldata proof)
        external
        view
        returns (bool);
}
