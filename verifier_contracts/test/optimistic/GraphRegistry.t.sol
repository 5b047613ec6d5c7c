// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {GraphRegistry} from "src/optimistic/GraphRegistry.sol";
import {VmlCommitment} from "src/libraries/VmlCommitment.sol";
import {TensorLib} from "src/optimistic/steps/Tensor.sol";
import {StepBounds} from "test/StepBounds.sol";
import {Test} from "test/Vm.sol";

/// @notice Whatever bytes come, the registry refuses by name: no arithmetic overflows, nothing is read past an end.
/// What it accepts is compared with Python in tests/chain and tests/parity.
contract GraphRegistryTest is Test {
    bytes4 internal constant PANIC = 0x4e487b71;
    uint256 internal constant LIMIT = 8_000_000;
    bytes32 internal constant SEMANTICS = keccak256("semantics");

    GraphRegistry internal registry;
    StepBounds internal bounds;

    function setUp() external {
        registry = new GraphRegistry(SEMANTICS, LIMIT);
        bounds = new StepBounds();
    }

    function input(uint64 elements) internal pure returns (bytes memory) {
        return abi.encodePacked(uint8(1), uint8(1), uint8(1), elements, int64(-5), int64(5), uint8(0), uint32(0));
    }

    /// @dev The shared part of a descriptor with two dimensions, over inputs 0 .. count - 1.
    function head(uint8 kind, uint256 count, uint64 rows, uint64 columns) internal pure returns (bytes memory data) {
        data = abi.encodePacked(kind, uint8(2), uint8(2), rows, columns, int64(-5), int64(5), uint8(count));
        for (uint256 k = 0; k < count; ++k) {
            data = bytes.concat(data, bytes4(uint32(k)));
        }
    }

    function isNamed(bytes memory reason) internal pure returns (bool) {
        return reason.length >= 4 && bytes4(reason) != PANIC;
    }

    function checkNamed(uint8 kind, uint64 elements, bytes memory descriptor) internal view {
        bytes[] memory descriptors = new bytes[](4);
        for (uint256 k = 0; k < 3; ++k) {
            descriptors[k] = input(elements);
        }
        descriptors[3] = descriptor;
        try bounds.bound(descriptors, 3) {
            check(kind >= 16 && kind <= 31, "a kind with a step");
        } catch (bytes memory reason) {
            check(isNamed(reason), "refused by name");
        }
    }

    function testFuzz_anyAttributesAreRefusedByName(
        uint8 kind,
        uint8 count,
        uint64 elements,
        uint64 rows,
        uint64 columns,
        bytes calldata attributes
    ) external view {
        kind = uint8(bound(kind, 14, 33));
        elements = uint64(bound(elements, 1, 1 << 40));
        rows = uint64(bound(rows, 1, 1 << 20));
        columns = uint64(bound(columns, 1, 1 << 20));
        bytes memory descriptor = bytes.concat(head(kind, count % 4, rows, columns), attributes);
        checkNamed(kind, elements, descriptor);
    }

    /// @dev Loops and views of the right form, with any numbers.
    function testFuzz_anyLoopsAreRefusedByName(
        uint64[3] calldata loops,
        int64[5] calldata a,
        int64[5] calldata b,
        uint64 offset,
        uint64 elements,
        uint8 small
    ) external view {
        elements = uint64(bound(elements, 1, 1 << 40));
        bytes memory contract_ = abi.encodePacked(uint8(3));
        for (uint256 k = 0; k < 3; ++k) {
            uint64 size = small >> k & 1 == 0 ? loops[k] : loops[k] % 40;
            contract_ = bytes.concat(contract_, bytes8(size));
        }
        bytes memory descriptor = bytes.concat(
            head(16, 2, 3, 2), contract_, view_(offset, a, small), view_(offset >> 1, b, small), bytes9(0)
        );
        checkNamed(16, elements, descriptor);
        descriptor = bytes.concat(head(24, 1, 3, 2), contract_, view_(offset, a, small));
        checkNamed(24, elements, descriptor);
    }

    function view_(uint64 offset, int64[5] calldata strides, uint8 small) internal pure returns (bytes memory data) {
        data = abi.encodePacked(small >> 4 & 1 == 0 ? offset : offset % 1000, uint8(5));
        for (uint256 k = 0; k < 5; ++k) {
            int64 stride = small >> 5 & 1 == 0 ? strides[k] : strides[k] % 50;
            data = bytes.concat(data, bytes8(uint64(stride)));
        }
    }

    function testFuzz_anyOpeningIsRefusedByName(
        bytes32 root,
        uint32 count,
        uint8 bits,
        bytes calldata inputs,
        bytes calldata outputs
    ) external {
        try registry.open(root, count, bits, inputs, outputs) {}
        catch (bytes memory reason) {
            check(isNamed(reason), "refused by name");
        }
    }

    function spec(uint32 node) internal pure returns (bytes memory) {
        bytes memory sizes = abi.encodePacked(uint8(1), uint8(1), uint64(4), int64(-5), int64(5), false);
        return bytes.concat(abi.encodePacked(uint32(1), uint16(0), uint8(0), node), sizes, bytes4(0));
    }

    /// @dev One input, of which a chain of elementwise nodes is made; cut anywhere, it is the same model.
    function testFuzz_anyCutGivesTheSameModel(uint256 count, uint8 bits) external {
        count = bound(count, 1, 70);
        uint256 depth = TensorLib.depthOf(count);
        bits = uint8(bound(bits, depth < 4 ? depth : 4, depth));
        bytes[] memory descriptors = new bytes[](count);
        descriptors[0] = input(4);
        for (uint32 k = 1; k < count; ++k) {
            bytes memory shared =
                abi.encodePacked(uint8(31), uint8(1), uint8(1), uint64(4), int64(-5), int64(5), uint8(1), k - 1);
            descriptors[k] = bytes.concat(shared, abi.encodePacked(uint64(0), uint8(1), int64(1)));
        }
        bytes32 root = VmlCommitment.graphRoot(descriptors);
        bytes32 model = registry.open(root, uint32(count), bits, spec(0), spec(uint32(count - 1)));
        checkEqual(
            model, VmlCommitment.modelDigest(SEMANTICS, root, spec(0), spec(uint32(count - 1))), "the model's identity"
        );
        for (uint256 at = 0; at < count; at += 1 << bits) {
            registry.append(model, part(descriptors, at, bits), path(descriptors, at >> bits, bits));
        }
        (bytes32 got, uint32 registered,) = registry.graphOf(model);
        checkEqual(got, root, "the graph");
        checkEqual(registered, count, "all of it");
        for (uint256 k = 0; k < count; ++k) {
            checkEqual(keccak256(registry.descriptorOf(model, k)), keccak256(descriptors[k]), "the descriptor");
        }
    }

    function part(bytes[] memory descriptors, uint256 at, uint8 bits) internal pure returns (bytes[] memory chunk) {
        uint256 left = descriptors.length - at;
        chunk = new bytes[](left < 1 << bits ? left : 1 << bits);
        for (uint256 k = 0; k < chunk.length; ++k) {
            chunk[k] = descriptors[at + k];
        }
    }

    /// @dev The siblings of a chunk, from the whole tree.
    function path(bytes[] memory descriptors, uint256 chunk, uint8 bits)
        internal
        pure
        returns (bytes32[] memory found)
    {
        uint256 depth = TensorLib.depthOf(descriptors.length);
        bytes32[] memory row = new bytes32[](1 << depth);
        for (uint256 k = 0; k < row.length; ++k) {
            row[k] =
                k < descriptors.length ? VmlCommitment.descriptorLeaf(descriptors[k]) : VmlCommitment.EMPTY_DESCRIPTOR;
        }
        found = new bytes32[](depth - bits);
        for (uint256 height = 0; height < depth; ++height) {
            if (height >= bits) found[height - bits] = row[((chunk << bits) >> height) ^ 1];
            for (uint256 k = 0; k < 1 << (depth - height - 1); ++k) {
                row[k] = VmlCommitment.node(row[2 * k], row[2 * k + 1]);
            }
        }
    }
}
