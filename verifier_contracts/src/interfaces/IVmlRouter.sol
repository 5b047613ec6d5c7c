// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {IModelRegistry} from "src/interfaces/IModelRegistry.sol";
import {IVmlVerifier} from "src/interfaces/IVmlVerifier.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";

/// @title One address that checks every vml proof
/// @notice A proof is a 4-byte selector followed by the encoding of the verifier behind it. It is accepted if
///   1. the selector's route is active,
///   2. the entry `key` of the ModelRegistry is for the claim's model and not deprecated,
///   3. the entry's owner enabled the selector, and nobody proved two outputs with it (freezeByEquivocation),
///   4. the verifier answers true.
/// Whose entry? Anybody can register anybody's model with a worthless backend, so a consumer says which keys it
/// believes: by a pin of its own, by naming the key, or by a policy. There is no call that takes the model alone.
interface IVmlRouter is IERC165 {
    enum RouteState {
        Unknown,
        Active,
        Frozen,
        Removed
    }

    /// @dev The words of every vml contract for where a claim stands. This router records only Accepted; Pending,
    /// Challenged and Rejected are for those whose proofs take time.
    enum Status {
        Unknown,
        Pending,
        Challenged,
        Accepted,
        Rejected
    }

    /// @notice Accepts any of these keys, proved under any of these selectors. Both in ascending order, so that a set
    /// has one id; neither empty.
    struct Policy {
        bytes32[] keys;
        bytes4[] selectors;
    }

    event RouteAdded(bytes4 indexed selector, IVmlVerifier indexed verifier, string scheme);
    event RouteFrozen(bytes4 indexed selector, address indexed by, bytes32 reason);
    event RouteRemoved(bytes4 indexed selector);
    event GuardianChanged(address indexed previous, address indexed current);
    event Pinned(address indexed consumer, bytes32 indexed model, bytes32 key);
    event Unpinned(address indexed consumer, bytes32 indexed model);
    event PolicyDefined(bytes32 indexed policyId, Policy policy);
    event Recorded(bytes32 indexed key, bytes32 indexed digest, bytes4 indexed selector);
    event Equivocated(bytes32 indexed key, bytes4 indexed selector, bytes32 digestA, bytes32 digestB);

    error RouteUnknown(bytes4 selector);
    error RouteIsFrozen(bytes4 selector);
    error RouteIsRemoved(bytes4 selector);
    error RouteExists(bytes4 selector);
    error NotAVerifier(address verifier);
    error NotARegistry(address registry);
    error NotGuardian(address caller);
    error BackendNotEnabled(bytes32 key, bytes4 selector);
    error BackendEquivocated(bytes32 key, bytes4 selector);
    error ModelUnknown(bytes32 key);
    error ModelIsDeprecated(bytes32 key);
    error ModelMismatch(bytes32 key, bytes32 model);
    error NotPinned(address consumer, bytes32 model);
    error ProofTooShort();
    error InvalidProof(bytes4 selector);
    error PolicyUnknown(bytes32 policyId);
    error PolicyIsEmpty();
    error PolicyNotAscending();
    /// @notice The selector is none of the policy's, or none of its keys is for the claim's model.
    error PolicyRefuses(bytes32 policyId, bytes32 model, bytes4 selector);
    error NotDeterministic(bytes32 key);
    error NotEquivocation();

    // ---- verifying -------------------------------------------------------------------------------------------------

    /// @notice Verifies under the caller's own pin for the claim's model; reverts unless proved.
    function verify(VmlClaim.Claim calldata claim, bytes calldata proof) external view returns (bytes4 selector);

    /// @notice Verifies under the registry entry that the caller names; reverts unless proved.
    function verifyEntry(bytes32 key, VmlClaim.Claim calldata claim, bytes calldata proof)
        external
        view
        returns (bytes4 selector);

    /// @notice Verifies under each of the policy's keys for the claim's model until one accepts; reverts if none does.
    function verifyWithPolicy(bytes32 policyId, VmlClaim.Claim calldata claim, bytes calldata proof)
        external
        view
        returns (bytes4 selector);

    /// @notice As verifyEntry, but answers. Never reverts, unless the gas it was given does not even suffice to answer.
    /// @dev False says "not proved with this gas": whoever can choose the gas can have it say false. A caller for whom
    /// false has consequences requires gas first (docs/contracts.md).
    function tryVerify(bytes32 key, VmlClaim.Claim calldata claim, bytes calldata proof)
        external
        view
        returns (bool valid, bytes4 selector);

    // ---- records, for consumers that look later --------------------------------------------------------------------

    /// @notice Verifies and remembers; anybody may. Recording again changes nothing. A record counts while the backend
    /// under which it was made is enabled, with the same metadata: what an entry accepted before its owner changed or
    /// revoked a backend is not believed after.
    /// @return digest VmlClaim.digest(claim)
    function record(bytes32 key, VmlClaim.Claim calldata claim, bytes calldata proof) external returns (bytes32 digest);

    /// @notice The first record of a claim that counts. It stays when its route freezes later: `routes(selector)` tells.
    function statusOf(bytes32 key, bytes32 digest) external view returns (Status status, bytes4 selector, uint64 at);

    /// @notice When the claim was first recorded under this selector; zero if never.
    /// @dev For consumers that accept one selector: a record under another cannot stand in its way.
    function recordedAt(bytes32 key, bytes32 digest, bytes4 selector) external view returns (uint64 at);

    // ---- what a consumer believes ----------------------------------------------------------------------------------

    /// @notice The caller believes this entry for its model, in place of what it believed before.
    function pin(bytes32 key) external;
    function unpin(bytes32 model) external;
    /// @return key zero if nothing is pinned
    function pinOf(address consumer, bytes32 model) external view returns (bytes32 key);

    /// @notice Stores a policy under keccak256(abi.encode(policy_)); anybody may, defining again changes nothing.
    function definePolicy(Policy calldata policy_) external returns (bytes32 policyId);
    function policy(bytes32 policyId) external view returns (Policy memory);

    // ---- routes ----------------------------------------------------------------------------------------------------

    function registry() external view returns (IModelRegistry);
    function guardian() external view returns (address);

    /// @notice Owner. The selector comes from the verifier itself and was never used before.
    function addRoute(IVmlVerifier verifier) external returns (bytes4 selector);

    /// @notice Guardian or owner. Irreversible.
    function freezeRoute(bytes4 selector, bytes32 reason) external;

    /// @notice Owner. The selector is never used again, and `routes` still names its verifier.
    function removeRoute(bytes4 selector) external;

    /// @notice Owner. The zero address for no guardian.
    function setGuardian(address guardian_) external;

    function routes(bytes4 selector) external view returns (IVmlVerifier verifier, RouteState state);

    /// @notice Shuts off, for good, a backend of a model whose owner declared it deterministic: two accepted proofs under
    /// one selector for the same model, input and context, with different outputs. Anybody.
    /// @dev Shuts off (key, selector) and not the route: metadata is the owner's, who could otherwise bring down a route
    /// for everybody with a worthless key of his own.
    function freezeByEquivocation(
        bytes32 key,
        VmlClaim.Claim calldata claimA,
        bytes calldata proofA,
        VmlClaim.Claim calldata claimB,
        bytes calldata proofB
    ) external returns (bytes4 selector);
    function equivocated(bytes32 key, bytes4 selector) external view returns (bool);
}
