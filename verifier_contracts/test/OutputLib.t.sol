// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {OutputLib} from "src/libraries/OutputLib.sol";
import {VmlCommitment} from "src/libraries/VmlCommitment.sol";
import {Outputs} from "test/Outputs.sol";
import {Test} from "test/Vm.sol";

/// @title Reading outputs; tests/parity/test_solidity_outputs.py compares the same functions with Python
contract OutputLibTest is Test {
    Outputs internal outputs = new Outputs();

    function tensor(uint8 dtype, uint64 length, bytes memory data) internal pure returns (OutputLib.Tensor memory) {
        uint64[] memory dims = new uint64[](1);
        dims[0] = length;
        return OutputLib.Tensor(dtype, dims, data);
    }

    function testFuzz_int16(int16[] memory all) external view {
        vm.assume(all.length > 0);
        if (all.length > 40) {
            assembly ("memory-safe") {
                mstore(all, 40)
            }
        }
        bytes memory data;
        for (uint256 i = 0; i < all.length; ++i) {
            data = bytes.concat(data, bytes2(uint16(all[i])));
        }
        OutputLib.Tensor memory one = tensor(2, uint64(all.length), data);
        int256[] memory got = outputs.values(one);
        checkEqual(got.length, all.length, "as many");
        checkEqual(outputs.count(one), all.length, "as many");
        for (uint256 i = 0; i < all.length; ++i) {
            checkEqual(got[i], int256(all[i]), "the value");
            checkEqual(outputs.valueAt(one, i), int256(all[i]), "the value alone");
        }
    }

    function testFuzz_everyWidth(int64 value) external view {
        checkEqual(outputs.valueAt(tensor(1, 1, abi.encodePacked(int8(value))), 0), int256(int8(value)), "int8");
        checkEqual(outputs.valueAt(tensor(3, 1, abi.encodePacked(int32(value))), 0), int256(int32(value)), "int32");
        checkEqual(outputs.valueAt(tensor(4, 1, abi.encodePacked(value)), 0), int256(value), "int64");
    }

    function test_elementsThatAreNotThere() external {
        OutputLib.Tensor memory one = tensor(2, 2, hex"00010002");
        vm.expectRevert(abi.encodeWithSelector(OutputLib.NoSuchElement.selector, 2, 2));
        outputs.valueAt(one, 2);
        vm.expectRevert(abi.encodeWithSelector(OutputLib.NoSuchElement.selector, type(uint256).max, 2));
        outputs.valueAt(one, type(uint256).max);
    }

    function testFuzz_everyByteIsCommitted(bytes memory data, uint256 at, bytes1 flip) external {
        vm.assume(data.length > 0 && flip != 0);
        OutputLib.Tensor[] memory one = new OutputLib.Tensor[](1);
        one[0] = tensor(1, uint64(data.length), data);
        bytes32 output = outputs.commitment(one);
        outputs.requireOutput(one, output);
        at = bound(at, 0, data.length - 1);
        one[0].data[at] ^= flip;
        bytes32 got = outputs.commitment(one);
        vm.expectRevert(abi.encodeWithSelector(OutputLib.OutputMismatch.selector, output, got));
        outputs.requireOutput(one, output);
    }

    function test_typeAndShapeAreCommitted() external view {
        OutputLib.Tensor[] memory one = new OutputLib.Tensor[](1);
        one[0] = tensor(1, 4, hex"00010002");
        bytes32 bytes_ = outputs.commitment(one);
        one[0] = tensor(2, 2, hex"00010002");
        bytes32 shorts = outputs.commitment(one);
        one[0].dims = new uint64[](2);
        (one[0].dims[0], one[0].dims[1]) = (1, 2);
        check(bytes_ != shorts && shorts != outputs.commitment(one), "four, two, one by two");
    }

    function test_whatIsNoTensor() external {
        OutputLib.Tensor[] memory none = new OutputLib.Tensor[](0);
        vm.expectRevert(VmlCommitment.NoTensors.selector);
        outputs.commitment(none);
        OutputLib.Tensor[] memory one = new OutputLib.Tensor[](1);
        one[0] = tensor(2, 2, hex"000100");
        vm.expectRevert(abi.encodeWithSelector(VmlCommitment.TensorSize.selector, 4, 3));
        outputs.commitment(one);
        one[0] = tensor(5, 1, hex"00");
        vm.expectRevert(abi.encodeWithSelector(VmlCommitment.UnknownDtype.selector, 5));
        outputs.commitment(one);
    }

    function testFuzz_argmaxIsTheFirstOfTheLargest(int8[] memory all) external {
        int256[] memory wide = new int256[](all.length);
        uint256 best;
        for (uint256 i = 0; i < all.length; ++i) {
            wide[i] = all[i];
            if (all[i] > all[best]) best = i;
        }
        if (all.length == 0) vm.expectRevert(OutputLib.NoElements.selector);
        uint256 got = outputs.argmax(wide);
        if (all.length != 0) checkEqual(got, best, "the first");
    }

    function testFuzz_ezklValues(int128 value) external {
        uint256[] memory words = new uint256[](1);
        words[0] = value >= 0 ? uint256(int256(value)) : OutputLib.FIELD - uint256(-int256(value));
        if (value == type(int128).min) {
            vm.expectRevert(abi.encodeWithSelector(OutputLib.NotAValue.selector, words[0]));
        }
        int256[] memory got = outputs.ezklValues(words);
        if (value != type(int128).min) checkEqual(got[0], int256(value), "the value");
    }

    function testFuzz_wordsOfNoValue(uint256 word) external {
        word = bound(word, OutputLib.EZKL_VALUES, type(uint256).max);
        vm.assume(word >= OutputLib.FIELD || word <= OutputLib.FIELD - OutputLib.EZKL_VALUES);
        uint256[] memory words = new uint256[](1);
        words[0] = word;
        vm.expectRevert(abi.encodeWithSelector(OutputLib.NotAValue.selector, word));
        outputs.ezklValues(words);
    }

    function test_ezklShapes() external {
        uint64[][] memory shapes = new uint64[][](0);
        uint256[] memory words = new uint256[](3);
        vm.expectRevert(abi.encodeWithSelector(OutputLib.TooManyTensors.selector, 0));
        outputs.ezklCommitment(shapes, words);
        shapes = new uint64[][](1);
        shapes[0] = new uint64[](2);
        (shapes[0][0], shapes[0][1]) = (1, 2);
        vm.expectRevert(abi.encodeWithSelector(OutputLib.WordCount.selector, 2, 3));
        outputs.ezklCommitment(shapes, words);
        shapes[0][1] = 3;
        bytes32 output = outputs.ezklCommitment(shapes, words);
        outputs.requireEzklOutput(shapes, words, output);
        vm.expectRevert(abi.encodeWithSelector(OutputLib.OutputMismatch.selector, bytes32(0), output));
        outputs.requireEzklOutput(shapes, words, 0);
    }
}
