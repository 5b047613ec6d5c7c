// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IVmlVerifier} from "src/interfaces/IVmlVerifier.sol";
import {DataContract} from "src/libraries/DataContract.sol";
import {OutputLib} from "src/libraries/OutputLib.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {EzklAdapter} from "src/zk/EzklAdapter.sol";
import {EzklInstances} from "src/zk/EzklInstances.sol";
import {Test} from "test/Vm.sol";

/// @title A generated verifier that likes every proof, so that the adapter alone is left; or one that never does
contract Answers {
    bytes internal answer;

    constructor(bytes memory answer_) {
        answer = answer_;
    }

    fallback() external {
        bytes memory given = answer;
        assembly ("memory-safe") {
            return(add(given, 32), mload(given))
        }
    }
}

/// @title Attacks on the adapter that do not work
contract EzklAttacksTest is Test {
    bytes32 internal constant MODEL = keccak256("model");
    uint256 internal constant R = EzklInstances.R;
    uint256 internal constant INPUTS = 3;
    uint256 internal constant OUTPUTS = 2;

    EzklAdapter internal adapter;
    EzklAdapter.Metadata internal model;
    VmlClaim.Claim internal claim;
    bytes internal transcript = new bytes(64);
    uint256[] internal words;

    function setUp() external {
        prepare("public");
    }

    function prepare(string memory input) internal {
        adapter = new EzklAdapter(string.concat("ezkl/23.0.5/kzg-bn254/input-", input, "/model-public"));
        bool open = adapter.inputIsPublic();
        claim.model = MODEL;
        claim.context = keccak256("context");
        delete words;
        for (uint256 i = 0; i < INPUTS; ++i) {
            words.push(open ? i : uint256(keccak256(abi.encode(i))) % R);
        }
        if (open) pushContext();
        else words.push(77);
        words.push(5);
        words.push(R - 5);
        pushContext();
        model.model = MODEL;
        model.proofBytes = 64;
        model.inputWords = uint32(INPUTS);
        model.outputWords = uint32(OUTPUTS);
        model.inputHeader = open ? abi.encodePacked(hex"08", uint32(1), uint32(1), uint64(INPUTS)) : bytes(hex"09");
        model.outputHeader = abi.encodePacked(hex"08", uint32(1), uint32(1), uint64(OUTPUTS));
        use(address(new Answers(abi.encode(true))));
        commit();
    }

    function use(address verifier) internal {
        model.verifier = verifier;
        model.codeHash = verifier.codehash;
    }

    function pushContext() internal {
        for (uint256 i = 0; i < 16; ++i) {
            words.push((uint256(claim.context) >> (240 - 16 * i)) & 0xffff);
        }
    }

    function commit() internal {
        claim.input = keccak256(bytes.concat(model.inputHeader, packed(0, INPUTS)));
        claim.output = keccak256(bytes.concat(model.outputHeader, packed(words.length - 16 - OUTPUTS, OUTPUTS)));
    }

    function packed(uint256 from, uint256 count) internal view returns (bytes memory all) {
        for (uint256 i = from; i < from + count; ++i) {
            all = bytes.concat(all, bytes32(words[i]));
        }
    }

    /// @dev Whether the adapter says yes, whatever else it does.
    function says(bytes memory metadata, bytes memory proof) internal view returns (bool) {
        bytes memory question = abi.encodeCall(IVmlVerifier.verify, (claim, metadata, proof));
        (bool success, bytes memory answer) = address(adapter).staticcall{gas: 10_000_000}(question);
        return success && answer.length == 32 && bytes32(answer) == bytes32(uint256(1));
    }

    function says() internal view returns (bool) {
        return says(abi.encode(model), abi.encode(transcript, words));
    }

    // ---- metadata --------------------------------------------------------------------------------------------------

    /// Offsets are signed to the compiler: one that points backwards takes a header from what stands before the metadata.
    function test_aHeaderFromBeforeTheMetadata() external {
        bytes memory metadata = abi.encode(model);
        bytes memory proof = abi.encode(transcript, words);
        // In the calldata: the claim at 0x04, offsets of metadata and proof at 0x84 and 0xa4, the metadata's length at
        // 0xc4, its struct at 0x104. The word at 0x84 is 0xc0, which makes a header of 192 bytes at 0xa4.
        bytes memory question = abi.encodeCall(IVmlVerifier.verify, (claim, metadata, proof));
        bytes memory header = new bytes(192);
        for (uint256 i = 0; i < 192; ++i) {
            header[i] = question[0xa4 + i];
        }
        setWord(metadata, 32 + 9 * 32, bytes32(type(uint256).max - (0x104 - 0x84) + 1));
        claim.input = keccak256(bytes.concat(header, packed(0, INPUTS)));
        bytes memory asked = abi.encodeCall(IVmlVerifier.verify, (claim, metadata, proof));
        (bool success, bytes memory why) = address(adapter).staticcall(asked);
        check(!success && bytes4(why) == EzklAdapter.MetadataMalformed.selector, "a header that is not in the metadata");
    }

    /// Wherever the offsets and lengths of the headers point, only the registered header makes the claim.
    function testFuzz_offsetsOfHeaders(uint256 offset, uint16 near, bool small, bool output) external view {
        bytes memory metadata = abi.encode(model);
        uint256 place = output ? 10 : 9;
        if (small) {
            unchecked {
                offset = uint256(near) - 400;
            }
        }
        setWord(metadata, 32 + place * 32, bytes32(offset));
        bool same = keccak256(metadata) == keccak256(abi.encode(model));
        check(same || !says(metadata, abi.encode(transcript, words)), "another header");
    }

    function setWord(bytes memory data, uint256 at, bytes32 value) internal pure {
        assembly ("memory-safe") {
            mstore(add(add(data, 32), at), value)
        }
    }

    /// Lengths near 2^32 and beyond: nothing wraps into an accepted layout.
    function testFuzz_lengthsOfTheLayout(uint32 proofBytes, uint32 inputs, uint32 outputs) external {
        vm.assume(proofBytes != 64 || inputs != INPUTS || outputs != OUTPUTS);
        (model.proofBytes, model.inputWords, model.outputWords) = (proofBytes, inputs, outputs);
        check(!says(), "another layout");
        bytes memory metadata = abi.encode(model);
        setWord(metadata, 32 + 6 * 32, bytes32((uint256(1) << 32) + 64));
        check(!says(metadata, abi.encode(transcript, words)), "a length with high bits");
    }

    // ---- proofs ----------------------------------------------------------------------------------------------------

    /// Any word of head and lengths, with any value: offsets that overlap, lengths near 2^256.
    function testFuzz_wordsOfTheEncoding(uint256 value, uint8 which, uint8 power, bool near) external view {
        bytes memory proof = abi.encode(transcript, words);
        uint256[4] memory places = [uint256(0), 32, 64, 96 + transcript.length];
        uint256 at = places[which % 4];
        if (near) {
            unchecked {
                value = (uint256(1) << power) - (value % 65);
            }
        }
        uint256 was;
        assembly ("memory-safe") {
            was := mload(add(add(proof, 32), at))
        }
        vm.assume(value != was);
        setWord(proof, at, bytes32(value));
        check(!says(abi.encode(model), proof), "another encoding");
    }

    /// A verifier that reduces its inputs would take each of these for the honest word.
    function test_wordsThatAreTheSameModuloTheField() external {
        for (uint256 i = 0; i < words.length; ++i) {
            uint256 was = words[i];
            for (uint256 k = 1; k <= 5 && was <= type(uint256).max - k * R; ++k) {
                words[i] = was + k * R;
                check(!says(), "with the honest claim");
                VmlClaim.Claim memory honest = claim;
                commit();
                check(!says(), "with a claim made to fit");
                claim = honest;
            }
            words[i] = was;
        }
        check(says(), "honest");
    }

    /// Limbs that reach into the next one, and lanes that changed places, spell the same context to a careless reader.
    function test_limbsOfAContextHaveOneSpelling() external {
        uint256 last = words.length - 1;
        for (uint256 i = 1; i < 16; ++i) {
            if (words[last - i] == 0) continue;
            words[last - i] -= 1;
            words[last - i + 1] += 0x10000;
            check(!says(), "a limb of 17 bits");
            words[last - i] += 1;
            words[last - i + 1] -= 0x10000;
            (words[last - i], words[last]) = (words[last], words[last - i]);
            check(words[last - i] == words[last] || !says(), "lanes that changed places");
            (words[last - i], words[last]) = (words[last], words[last - i]);
        }
        // The inputs' context alone is another one.
        words[INPUTS + 3] ^= 1;
        check(!says(), "the context among the inputs");
        words[INPUTS + 3] ^= 1;
        check(says(), "honest");
    }

    // ---- claims ----------------------------------------------------------------------------------------------------

    /// Digests of hidden inputs (0x09) and values of public ones (0x08) never commit to the same claim.
    function test_hiddenIsNotPublic() external {
        bytes32 open = claim.input;
        uint256[] memory values = new uint256[](INPUTS);
        for (uint256 i = 0; i < INPUTS; ++i) {
            values[i] = words[i];
        }
        prepare("hashed");
        check(says(), "honest");
        bytes32 closed = claim.input;
        for (uint256 i = 0; i < INPUTS; ++i) {
            words[i] = values[i];
        }
        claim.input = open;
        check(!says(), "values for digests");
        claim.input = closed;
        check(!says(), "digests of something else");
    }

    /// The same words in other shapes, or cut elsewhere into tensors, are other outputs.
    function testFuzz_shapesAreInTheClaim(uint8 a, uint8 b, uint8 c) external pure {
        uint64[][] memory one = new uint64[][](1);
        one[0] = new uint64[](2);
        (one[0][0], one[0][1]) = (uint64(a % 5) + 1, uint64(b % 5) + 1);
        uint256 size = uint256(one[0][0]) * one[0][1];
        uint256[] memory all = new uint256[](size);
        bytes32 first = OutputLib.ezklCommitment(one, all);
        uint64[][] memory flat = new uint64[][](1);
        flat[0] = new uint64[](1);
        flat[0][0] = uint64(size);
        check(OutputLib.ezklCommitment(flat, all) != first, "flat");
        uint64[][] memory two = new uint64[][](2);
        (two[0], two[1]) = (new uint64[](1), new uint64[](1));
        two[0][0] = uint64(c % (size + 1));
        two[1][0] = uint64(size) - two[0][0];
        check(OutputLib.ezklCommitment(two, all) != first, "two tensors");
        (one[0][0], one[0][1]) = (one[0][1], one[0][0]);
        check(a % 5 == b % 5 || OutputLib.ezklCommitment(one, all) != first, "transposed");
    }

    /// 2^32 times 2^32 elements are none to arithmetic that wraps.
    function test_dimensionsThatOverflow() external view {
        uint64[][] memory shapes = new uint64[][](1);
        shapes[0] = new uint64[](8);
        for (uint256 i = 0; i < 8; ++i) {
            shapes[0][i] = 1 << 32;
        }
        try this.ezkl(shapes, new uint256[](0)) {
            revert Failed("ezkl");
        } catch {}
        OutputLib.Tensor[] memory tensors = new OutputLib.Tensor[](1);
        tensors[0] = OutputLib.Tensor({dtype: 1, dims: shapes[0], data: ""});
        try this.exact(tensors) {
            revert Failed("exact");
        } catch {}
    }

    function ezkl(uint64[][] memory shapes, uint256[] memory all) external pure returns (bytes32) {
        return OutputLib.ezklCommitment(shapes, all);
    }

    function exact(OutputLib.Tensor[] calldata tensors) external pure returns (bytes32) {
        return OutputLib.commitment(tensors);
    }

    // ---- generated verifiers that are none -------------------------------------------------------------------------

    /// An account without code and every precompile, pinned by mistake, in both forms.
    function test_whatHasNoCodeSaysNothing() external {
        address pointer = DataContract.write(new bytes(64));
        for (uint160 at = 0; at <= 0x13; ++at) {
            // The last is an account with money and no code.
            vm.deal(address(at), 1);
            use(address(at));
            model.vka = address(0);
            check(!says(), "plain");
            model.vka = pointer;
            for (uint256 i = 0; i < 2; ++i) {
                model.vkaDigest = i == 0 ? bytes32(0) : keccak256(new bytes(64));
                check(!says(), "reusable");
            }
        }
    }

    /// Answers of any length and form: only a word that is 1, and for all circuits the digest behind it.
    function testFuzz_answers(bytes memory answer, bool reusable, bool nearly) external {
        if (reusable) (model.vka, model.vkaDigest) = (DataContract.write(new bytes(64)), keccak256(new bytes(64)));
        if (nearly && answer.length >= 32) setWord(answer, 0, bytes32(uint256(1)));
        use(address(new Answers(answer)));
        bool yes = answer.length >= (reusable ? 64 : 32) && bytes32(answer) == bytes32(uint256(1));
        if (reusable) yes = false;
        check(says() == yes, "the answer");
        use(address(new Answers(abi.encodePacked(uint256(1), model.vkaDigest, answer))));
        check(says(), "the right one");
        use(address(new Answers(abi.encodePacked(uint256(1), bytes31(model.vkaDigest)))));
        check(!reusable || !says(), "a byte short");
    }

    /// EIP-150: with any gas, a verifier that says no is not heard as yes.
    function testFuzz_noGasMakesFalseTrue(uint256 gas_, bool reusable) external {
        use(address(new Answers(abi.encode(false, keccak256(new bytes(64))))));
        if (reusable) (model.vka, model.vkaDigest) = (DataContract.write(new bytes(64)), keccak256(new bytes(64)));
        bytes memory question =
            abi.encodeCall(IVmlVerifier.verify, (claim, abi.encode(model), abi.encode(transcript, words)));
        (bool success, bytes memory answer) = address(adapter).staticcall{gas: bound(gas_, 1000, 200_000)}(question);
        check(!success || bytes32(answer) == 0, "false became true");
    }
}
