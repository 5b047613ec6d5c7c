// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {IERC7992Registry} from "src/interfaces/IERC7992Registry.sol";
import {IModelRegistry} from "src/interfaces/IModelRegistry.sol";
import {ModelRegistry} from "src/ModelRegistry.sol";
import {DataContract} from "src/libraries/DataContract.sol";
import {Test} from "test/Vm.sol";

contract ModelRegistryTest is Test {
    bytes32 internal constant MODEL = keccak256("model");
    bytes32 internal constant VK = keccak256("vk");
    bytes4 internal constant SELECTOR = 0x01020304;
    address internal constant ALICE = address(0xa11ce);
    address internal constant MALLORY = address(0x3a1);

    ModelRegistry internal registry;
    bytes32 internal key;

    function setUp() external {
        registry = new ModelRegistry();
        key = registry.keyOf(ALICE, MODEL);
    }

    function commitment() internal pure returns (IERC7992Registry.ModelCommitment memory) {
        return IERC7992Registry.ModelCommitment(MODEL, keccak256("circuit"), VK, SELECTOR, "ipfs://model");
    }

    function register() internal {
        vm.prank(ALICE);
        registry.registerModel(commitment());
    }

    function test_interfaceIds() external view {
        checkEqual(type(IERC7992Registry).interfaceId, bytes4(0xd28519b1), "ERC-7992 gives its registry this id");
        check(registry.supportsInterface(0xd28519b1), "ERC-7992");
        check(registry.supportsInterface(type(IModelRegistry).interfaceId), "IModelRegistry");
        check(registry.supportsInterface(type(IERC165).interfaceId), "ERC-165");
        check(!registry.supportsInterface(0xffffffff), "ERC-165 forbids this one");
    }

    function test_keyIsOwnerAndModel() external {
        checkEqual(key, keccak256(abi.encode(ALICE, MODEL)), "the key");
        vm.expectEmit();
        emit IERC7992Registry.ModelRegistered(uint256(key), ALICE, commitment());
        register();
        checkEqual(registry.modelOf(key), MODEL, "the model");
        (IERC7992Registry.ModelCommitment memory got, bool deprecated, address owner) = registry.getModel(uint256(key));
        checkEqual(keccak256(abi.encode(got)), keccak256(abi.encode(commitment())), "the commitment");
        check(!deprecated && owner == ALICE, "fresh, and Alice's");
    }

    function test_anybodyRegistersTheSameModelUnderAnotherKey() external {
        register();
        vm.prank(MALLORY);
        uint256 other = registry.registerModel(commitment());
        check(bytes32(other) != key, "a key of her own");
        (,, address owner) = registry.getModel(uint256(key));
        checkEqual(owner, ALICE, "Alice's entry is as it was");
    }

    function test_registersOnce() external {
        register();
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.ModelExists.selector, uint256(key)));
        register();
    }

    function test_onlyTheOwnerChanges() external {
        register();
        bytes memory refusal =
            abi.encodeWithSelector(IERC7992Registry.NotModelOwner.selector, uint256(key), address(MALLORY));
        vm.startPrank(MALLORY);
        vm.expectRevert(refusal);
        registry.updateModel(uint256(key), commitment());
        vm.expectRevert(refusal);
        registry.deprecateModel(uint256(key));
        vm.expectRevert(refusal);
        registry.setBackend(key, SELECTOR, "", VK);
        vm.expectRevert(refusal);
        registry.revokeBackend(key, SELECTOR);
        vm.expectRevert(refusal);
        registry.lockBackends(key);
        vm.expectRevert(refusal);
        registry.declareDeterministic(key);
        vm.stopPrank();
    }

    function test_unknownModels() external {
        bytes memory refusal = abi.encodeWithSelector(IERC7992Registry.ModelNotFound.selector, uint256(key));
        vm.expectRevert(refusal);
        registry.getModel(uint256(key));
        vm.expectRevert(refusal);
        registry.modelOf(key);
        vm.expectRevert(refusal);
        registry.setBackend(key, SELECTOR, "", VK);
        (address owner, bool deprecated, bool deterministic, address metadata) = registry.resolve(key, SELECTOR);
        check(owner == address(0) && !deprecated && !deterministic && metadata == address(0), "zeros");
    }

    function test_update() external {
        register();
        IERC7992Registry.ModelCommitment memory changed = commitment();
        changed.uri = "https://example.org/model.json";
        changed.vkHash = keccak256("another vk");
        vm.expectEmit();
        emit IERC7992Registry.ModelUpdated(uint256(key), commitment(), changed);
        vm.prank(ALICE);
        registry.updateModel(uint256(key), changed);
        (IERC7992Registry.ModelCommitment memory got,,) = registry.getModel(uint256(key));
        checkEqual(keccak256(abi.encode(got)), keccak256(abi.encode(changed)), "the new commitment");
    }

    function test_updateKeepsTheModel() external {
        register();
        IERC7992Registry.ModelCommitment memory changed = commitment();
        changed.modelHash = keccak256("another model");
        vm.expectRevert(
            abi.encodeWithSelector(IModelRegistry.ModelIsFixed.selector, uint256(key), keccak256("another model"))
        );
        vm.prank(ALICE);
        registry.updateModel(uint256(key), changed);
    }

    function test_updateKeepsTheDigestOfAnEnabledBackend() external {
        register();
        vm.startPrank(ALICE);
        registry.setBackend(key, SELECTOR, "metadata", keccak256("enabled vk"));
        (IERC7992Registry.ModelCommitment memory got,,) = registry.getModel(uint256(key));
        checkEqual(got.vkHash, keccak256("enabled vk"), "ERC-7992's vkHash is the backend's digest");
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.VkDigestMismatch.selector, key, SELECTOR, VK));
        registry.updateModel(uint256(key), commitment());
        vm.stopPrank();
    }

    function test_backend() external {
        register();
        vm.expectEmit();
        emit IModelRegistry.BackendSet(key, SELECTOR, VK, "metadata");
        vm.prank(ALICE);
        registry.setBackend(key, SELECTOR, "metadata", VK);
        (bytes memory metadata, bool enabled) = registry.backend(key, SELECTOR);
        check(enabled && keccak256(metadata) == keccak256("metadata"), "as set");
        checkEqual(registry.vkDigest(key, SELECTOR), VK, "the digest");
        (, enabled) = registry.backend(key, 0xffffffff);
        check(!enabled, "another selector");
    }

    function test_revoke() external {
        register();
        vm.startPrank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.BackendUnknown.selector, key, SELECTOR));
        registry.revokeBackend(key, SELECTOR);
        registry.setBackend(key, SELECTOR, "metadata", VK);
        vm.expectEmit();
        emit IModelRegistry.BackendRevoked(key, SELECTOR);
        registry.revokeBackend(key, SELECTOR);
        vm.stopPrank();
        (bytes memory metadata, bool enabled) = registry.backend(key, SELECTOR);
        check(!enabled && metadata.length == 0, "gone");
        checkEqual(registry.vkDigest(key, SELECTOR), bytes32(0), "and its digest");
    }

    function test_lockedBackendsAreOnlyRevoked() external {
        register();
        vm.startPrank(ALICE);
        registry.setBackend(key, SELECTOR, "metadata", VK);
        registry.lockBackends(key);
        check(registry.backendsLocked(key), "locked");
        bytes memory refusal = abi.encodeWithSelector(IModelRegistry.BackendsAreLocked.selector, key);
        vm.expectRevert(refusal);
        registry.setBackend(key, SELECTOR, "other", VK);
        vm.expectRevert(refusal);
        registry.setBackend(key, 0xffffffff, "other", VK);
        vm.expectRevert(refusal);
        registry.lockBackends(key);
        registry.revokeBackend(key, SELECTOR);
        vm.expectRevert(refusal);
        registry.setBackend(key, SELECTOR, "metadata", VK);
        vm.stopPrank();
    }

    function test_deprecationIsFinal() external {
        register();
        vm.startPrank(ALICE);
        vm.expectEmit();
        emit IERC7992Registry.ModelDeprecated(uint256(key));
        registry.deprecateModel(uint256(key));
        (, bool deprecated,) = registry.getModel(uint256(key));
        check(deprecated, "deprecated");
        bytes memory refusal = abi.encodeWithSelector(IERC7992Registry.ModelIsDeprecated.selector, uint256(key));
        vm.expectRevert(refusal);
        registry.deprecateModel(uint256(key));
        vm.expectRevert(refusal);
        registry.updateModel(uint256(key), commitment());
        vm.expectRevert(refusal);
        registry.setBackend(key, SELECTOR, "", VK);
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.ModelExists.selector, uint256(key)));
        registry.registerModel(commitment());
        vm.stopPrank();
    }

    function test_deterministic() external {
        register();
        check(!registry.isDeterministic(key), "not unless declared");
        vm.expectEmit();
        emit IModelRegistry.DeclaredDeterministic(key);
        vm.prank(ALICE);
        registry.declareDeterministic(key);
        check(registry.isDeterministic(key), "declared");
    }

    function testFuzz_metadataComesBack(bytes calldata metadata) external {
        register();
        vm.prank(ALICE);
        registry.setBackend(key, SELECTOR, metadata, VK);
        (bytes memory got, bool enabled) = registry.backend(key, SELECTOR);
        check(enabled && keccak256(got) == keccak256(metadata), "the same bytes");
    }

    function test_metadataUpToTheCodeLimit() external {
        register();
        vm.startPrank(ALICE);
        registry.setBackend(key, SELECTOR, new bytes(24_575), VK);
        (bytes memory got,) = registry.backend(key, SELECTOR);
        checkEqual(got.length, 24_575, "all of it");
        vm.expectRevert(abi.encodeWithSelector(DataContract.DataTooLong.selector, 24_576));
        registry.setBackend(key, SELECTOR, new bytes(24_576), VK);
        vm.stopPrank();
    }

    function testFuzz_keysDiffer(address a, bytes32 m, address b, bytes32 n) external view {
        vm.assume(a != b || m != n);
        check(registry.keyOf(a, m) != registry.keyOf(b, n), "one key, two entries");
    }
}
