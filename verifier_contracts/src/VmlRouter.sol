// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {ERC165, IERC165} from "@openzeppelin/contracts/utils/introspection/ERC165.sol";
import {ERC165Checker} from "@openzeppelin/contracts/utils/introspection/ERC165Checker.sol";
import {IModelRegistry} from "src/interfaces/IModelRegistry.sol";
import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {IVmlVerifier} from "src/interfaces/IVmlVerifier.sol";
import {DataContract} from "src/libraries/DataContract.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";

/// @title One address that checks every vml proof
/// @notice See IVmlRouter. There is no proxy and no upgrade: a new version is a new address. The owner (a timelock,
/// where there are users) adds and removes routes and can do nothing else; in particular it cannot make a proof of an
/// old route be accepted by a new verifier, nor enable a backend for somebody's model.
/// Every call to another contract is a STATICCALL, so nothing can re-enter to change what is being decided.
contract VmlRouter is IVmlRouter, Ownable2Step, ERC165 {
    struct Route {
        IVmlVerifier verifier;
        RouteState state;
    }

    /// @dev One slot. `metadata` is the contract that held the backend's metadata: what the proof was proved under.
    struct Record {
        uint64 at;
        bytes4 selector;
        address metadata;
    }

    /// @dev Why a proof was not accepted; each has its error.
    enum Fault {
        None,
        ProofTooShort,
        RouteUnknown,
        RouteIsFrozen,
        RouteIsRemoved,
        ModelUnknown,
        ModelMismatch,
        ModelIsDeprecated,
        BackendNotEnabled,
        BackendEquivocated,
        InvalidProof
    }

    /// @inheritdoc IVmlRouter
    IModelRegistry public immutable registry;
    /// @inheritdoc IVmlRouter
    address public guardian;
    /// @inheritdoc IVmlRouter
    mapping(bytes4 selector => Route) public routes;
    /// @inheritdoc IVmlRouter
    mapping(address consumer => mapping(bytes32 model => bytes32 key)) public pinOf;
    /// @inheritdoc IVmlRouter
    mapping(bytes32 key => mapping(bytes4 selector => bool)) public equivocated;

    mapping(bytes32 policyId => Policy) private _policies;
    mapping(bytes32 key => mapping(bytes32 digest => Record)) private _firsts;
    mapping(bytes32 key => mapping(bytes32 digest => mapping(bytes4 selector => Record))) private _laters;

    constructor(address owner_, address guardian_, IModelRegistry registry_) Ownable(owner_) {
        if (!ERC165Checker.supportsInterface(address(registry_), type(IModelRegistry).interfaceId)) {
            revert NotARegistry(address(registry_));
        }
        registry = registry_;
        guardian = guardian_;
        emit GuardianChanged(address(0), guardian_);
    }

    // ---- verifying -------------------------------------------------------------------------------------------------

    /// @inheritdoc IVmlRouter
    function verify(VmlClaim.Claim calldata claim, bytes calldata proof) external view returns (bytes4 selector) {
        bytes32 key = pinOf[msg.sender][claim.model];
        if (key == 0) revert NotPinned(msg.sender, claim.model);
        return _verify(key, claim, proof);
    }

    /// @inheritdoc IVmlRouter
    function verifyEntry(bytes32 key, VmlClaim.Claim calldata claim, bytes calldata proof)
        external
        view
        returns (bytes4 selector)
    {
        return _verify(key, claim, proof);
    }

    /// @inheritdoc IVmlRouter
    function verifyWithPolicy(bytes32 policyId, VmlClaim.Claim calldata claim, bytes calldata proof)
        external
        view
        returns (bytes4 selector)
    {
        Policy storage chosen = _policies[policyId];
        uint256 count = chosen.keys.length;
        if (count == 0) revert PolicyUnknown(policyId);
        if (proof.length < 4) revert ProofTooShort();
        selector = bytes4(proof[:4]);
        if (!_contains(chosen.selectors, selector)) revert PolicyRefuses(policyId, claim.model, selector);
        bytes32 candidate = 0;
        Fault reason = Fault.None;
        for (uint256 i = 0; i < count; ++i) {
            bytes32 key = chosen.keys[i];
            (Fault fault,) = _attempt(key, claim, proof);
            if (fault == Fault.None) return selector;
            if (fault == Fault.ModelMismatch || fault == Fault.ModelUnknown) continue;
            (candidate, reason) = (key, fault);
        }
        if (candidate == 0) revert PolicyRefuses(policyId, claim.model, selector);
        _raise(reason, candidate, claim.model, selector);
    }

    /// @inheritdoc IVmlRouter
    function tryVerify(bytes32 key, VmlClaim.Claim calldata claim, bytes calldata proof)
        external
        view
        returns (bool valid, bytes4 selector)
    {
        Fault fault;
        (fault, selector) = _attempt(key, claim, proof);
        return (fault == Fault.None, selector);
    }

    // ---- records ---------------------------------------------------------------------------------------------------

    /// @inheritdoc IVmlRouter
    function record(bytes32 key, VmlClaim.Claim calldata claim, bytes calldata proof)
        external
        returns (bytes32 digest)
    {
        bytes4 selector = _verify(key, claim, proof);
        digest = VmlClaim.digest(claim);
        bool isFirst = !_stands(key, _firsts[key][digest]);
        if (recordedAt(key, digest, selector) != 0) {
            if (isFirst) _firsts[key][digest] = _laters[key][digest][selector];
            return digest;
        }
        Record storage made = isFirst ? _firsts[key][digest] : _laters[key][digest][selector];
        (made.at, made.selector, made.metadata) = (uint64(block.timestamp), selector, _metadataOf(key, selector));
        emit Recorded(key, digest, selector);
    }

    /// @inheritdoc IVmlRouter
    function statusOf(bytes32 key, bytes32 digest) external view returns (Status status, bytes4 selector, uint64 at) {
        Record memory first = _firsts[key][digest];
        if (!_stands(key, first)) return (Status.Unknown, 0, 0);
        return (Status.Accepted, first.selector, first.at);
    }

    /// @inheritdoc IVmlRouter
    function recordedAt(bytes32 key, bytes32 digest, bytes4 selector) public view returns (uint64 at) {
        Record memory first = _firsts[key][digest];
        if (first.selector == selector && _stands(key, first)) return first.at;
        Record memory later = _laters[key][digest][selector];
        return _stands(key, later) ? later.at : 0;
    }

    // ---- what a consumer believes ----------------------------------------------------------------------------------

    /// @inheritdoc IVmlRouter
    function pin(bytes32 key) external {
        bytes32 model = registry.modelOf(key);
        pinOf[msg.sender][model] = key;
        emit Pinned(msg.sender, model, key);
    }

    /// @inheritdoc IVmlRouter
    function unpin(bytes32 model) external {
        if (pinOf[msg.sender][model] == 0) revert NotPinned(msg.sender, model);
        delete pinOf[msg.sender][model];
        emit Unpinned(msg.sender, model);
    }

    /// @inheritdoc IVmlRouter
    function definePolicy(Policy calldata policy_) external returns (bytes32 policyId) {
        uint256 keys = policy_.keys.length;
        uint256 selectors = policy_.selectors.length;
        if (keys == 0 || selectors == 0) revert PolicyIsEmpty();
        for (uint256 i = 1; i < keys; ++i) {
            if (policy_.keys[i - 1] >= policy_.keys[i]) revert PolicyNotAscending();
        }
        for (uint256 i = 1; i < selectors; ++i) {
            if (policy_.selectors[i - 1] >= policy_.selectors[i]) revert PolicyNotAscending();
        }
        policyId = keccak256(abi.encode(policy_));
        if (_policies[policyId].keys.length != 0) return policyId;
        _policies[policyId] = policy_;
        emit PolicyDefined(policyId, policy_);
    }

    /// @inheritdoc IVmlRouter
    function policy(bytes32 policyId) external view returns (Policy memory) {
        if (_policies[policyId].keys.length == 0) revert PolicyUnknown(policyId);
        return _policies[policyId];
    }

    // ---- routes ----------------------------------------------------------------------------------------------------

    /// @inheritdoc IVmlRouter
    function addRoute(IVmlVerifier verifier) external onlyOwner returns (bytes4 selector) {
        if (!ERC165Checker.supportsInterface(address(verifier), type(IVmlVerifier).interfaceId)) {
            revert NotAVerifier(address(verifier));
        }
        string memory scheme = verifier.scheme();
        selector = bytes4(keccak256(bytes(scheme)));
        RouteState state = routes[selector].state;
        if (state == RouteState.Removed) revert RouteIsRemoved(selector);
        if (state != RouteState.Unknown) revert RouteExists(selector);
        routes[selector] = Route({verifier: verifier, state: RouteState.Active});
        emit RouteAdded(selector, verifier, scheme);
    }

    /// @inheritdoc IVmlRouter
    function freezeRoute(bytes4 selector, bytes32 reason) external {
        if (msg.sender != guardian && msg.sender != owner()) revert NotGuardian(msg.sender);
        Fault fault = _routeFault(routes[selector].state);
        if (fault != Fault.None) _raise(fault, 0, 0, selector);
        routes[selector].state = RouteState.Frozen;
        emit RouteFrozen(selector, msg.sender, reason);
    }

    /// @inheritdoc IVmlRouter
    function removeRoute(bytes4 selector) external onlyOwner {
        RouteState state = routes[selector].state;
        if (state == RouteState.Unknown) revert RouteUnknown(selector);
        if (state == RouteState.Removed) revert RouteIsRemoved(selector);
        routes[selector].state = RouteState.Removed;
        emit RouteRemoved(selector);
    }

    /// @inheritdoc IVmlRouter
    function setGuardian(address guardian_) external onlyOwner {
        emit GuardianChanged(guardian, guardian_);
        guardian = guardian_;
    }

    /// @inheritdoc IVmlRouter
    function freezeByEquivocation(
        bytes32 key,
        VmlClaim.Claim calldata claimA,
        bytes calldata proofA,
        VmlClaim.Claim calldata claimB,
        bytes calldata proofB
    ) external returns (bytes4 selector) {
        bool sameQuestion = claimA.model == claimB.model && claimA.input == claimB.input
            && claimA.context == claimB.context;
        if (!sameQuestion || claimA.output == claimB.output) revert NotEquivocation();
        selector = _verify(key, claimA, proofA);
        if (_verify(key, claimB, proofB) != selector) revert NotEquivocation();
        if (!registry.isDeterministic(key)) revert NotDeterministic(key);
        equivocated[key][selector] = true;
        emit Equivocated(key, selector, VmlClaim.digest(claimA), VmlClaim.digest(claimB));
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) public view override(ERC165, IERC165) returns (bool) {
        return interfaceId == type(IVmlRouter).interfaceId || super.supportsInterface(interfaceId);
    }

    // ---- within ----------------------------------------------------------------------------------------------------

    function _verify(bytes32 key, VmlClaim.Claim calldata claim, bytes calldata proof)
        private
        view
        returns (bytes4 selector)
    {
        Fault fault;
        (fault, selector) = _attempt(key, claim, proof);
        if (fault != Fault.None) _raise(fault, key, claim.model, selector);
    }

    /// @dev The whole decision. Reverts only for want of gas: the registry's `resolve` answers every question.
    function _attempt(bytes32 key, VmlClaim.Claim calldata claim, bytes calldata proof)
        private
        view
        returns (Fault fault, bytes4 selector)
    {
        if (proof.length < 4) return (Fault.ProofTooShort, 0);
        selector = bytes4(proof[:4]);
        Route memory route = routes[selector];
        fault = _routeFault(route.state);
        if (fault != Fault.None) return (fault, selector);

        (address owner_, bool deprecated, bool deterministic, address metadata) = registry.resolve(key, selector);
        if (owner_ == address(0)) return (Fault.ModelUnknown, selector);
        // The entry's model is the only one for which this holds: see IModelRegistry.keyOf.
        if (keccak256(abi.encode(owner_, claim.model)) != key) return (Fault.ModelMismatch, selector);
        if (deprecated) return (Fault.ModelIsDeprecated, selector);
        if (metadata == address(0)) return (Fault.BackendNotEnabled, selector);
        // A declaration is irreversible, so this saves most models a read and misses none.
        if (deterministic && equivocated[key][selector]) return (Fault.BackendEquivocated, selector);

        if (!_accepts(route.verifier, claim, metadata, proof[4:])) return (Fault.InvalidProof, selector);
    }

    /// @dev A low-level call: a revert, a verifier without code, and any answer but one word that is 1 all mean no. All
    /// gas but a 64th goes along (EIP-150); what is returned is copied one word at most.
    function _accepts(IVmlVerifier verifier, VmlClaim.Claim calldata claim, address metadata, bytes calldata encoding)
        private
        view
        returns (bool accepted)
    {
        bytes memory question = abi.encodeCall(IVmlVerifier.verify, (claim, DataContract.read(metadata), encoding));
        assembly ("memory-safe") {
            let success := staticcall(gas(), verifier, add(question, 32), mload(question), 0, 32)
            accepted := and(and(success, eq(returndatasize(), 32)), eq(mload(0), 1))
        }
    }

    /// @dev Whether there is a record, and its backend is still the one under which it was made. Otherwise an owner could
    /// record what a worthless backend accepted, and then enable and lock an honest one.
    function _stands(bytes32 key, Record memory made) private view returns (bool) {
        if (made.at == 0) return false;
        address metadata = _metadataOf(key, made.selector);
        return metadata == made.metadata || metadata.codehash == made.metadata.codehash;
    }

    function _metadataOf(bytes32 key, bytes4 selector) private view returns (address metadata) {
        (,,, metadata) = registry.resolve(key, selector);
    }

    function _routeFault(RouteState state) private pure returns (Fault) {
        if (state == RouteState.Active) return Fault.None;
        if (state == RouteState.Unknown) return Fault.RouteUnknown;
        return state == RouteState.Frozen ? Fault.RouteIsFrozen : Fault.RouteIsRemoved;
    }

    function _raise(Fault fault, bytes32 key, bytes32 model, bytes4 selector) private pure {
        if (fault == Fault.ProofTooShort) revert ProofTooShort();
        if (fault == Fault.RouteUnknown) revert RouteUnknown(selector);
        if (fault == Fault.RouteIsFrozen) revert RouteIsFrozen(selector);
        if (fault == Fault.RouteIsRemoved) revert RouteIsRemoved(selector);
        if (fault == Fault.ModelUnknown) revert ModelUnknown(key);
        if (fault == Fault.ModelMismatch) revert ModelMismatch(key, model);
        if (fault == Fault.ModelIsDeprecated) revert ModelIsDeprecated(key);
        if (fault == Fault.BackendNotEnabled) revert BackendNotEnabled(key, selector);
        if (fault == Fault.BackendEquivocated) revert BackendEquivocated(key, selector);
        revert InvalidProof(selector);
    }

    function _contains(bytes4[] storage list, bytes4 wanted) private view returns (bool) {
        for (uint256 i = 0; i < list.length; ++i) {
            if (list[i] == wanted) return true;
        }
        return false;
    }
}
