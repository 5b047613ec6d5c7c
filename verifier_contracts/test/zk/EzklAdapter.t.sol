// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {IVmlVerifier} from "src/interfaces/IVmlVerifier.sol";
import {DataContract} from "src/libraries/DataContract.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {EzklAdapter} from "src/zk/EzklAdapter.sol";
import {EzklInstances} from "src/zk/EzklInstances.sol";
import {IEzklReusableVerifier, IEzklVerifier} from "src/zk/IEzklVerifiers.sol";
import {Test} from "test/Vm.sol";

/// @title Answers as ezkl's verifiers do, if it is asked exactly the question it was told to expect
contract MockGenerated {
    enum Mood {
        Good,
        False,
        Reverts,
        Nothing,
        Two,
        Short,
        Burns
    }

    Mood public mood;
    bytes32 public question;
    bytes32 public digest;

    function expect(bytes memory question_, bytes32 digest_) external {
        question = keccak256(question_);
        digest = digest_;
    }

    function become(Mood mood_) external {
        mood = mood_;
    }

    fallback() external {
        if (mood == Mood.Reverts || keccak256(msg.data) != question) revert();
        if (mood == Mood.Burns) while (true) {}
        uint256 first = mood == Mood.False ? 0 : mood == Mood.Two ? 2 : 1;
        uint256 length = mood == Mood.Nothing ? 0 : mood == Mood.Short ? 31 : digest == 0 ? 32 : 0x940;
        bytes32 second = digest;
        assembly {
            mstore(0, first)
            mstore(32, second)
            return(0, length)
        }
    }
}

/// @title EzklAdapter in front of a mock; tests/chain has real verifiers and real proofs
contract EzklAdapterTest is Test {
    string internal constant PREFIX = "ezkl/23.0.5/kzg-bn254/input-";
    bytes32 internal constant MODEL = keccak256("model");
    bytes32 internal constant PARAMETERS = bytes32(uint256(77));
    uint256 internal constant R = EzklInstances.R;

    MockGenerated internal generated;
    EzklAdapter internal adapter;
    EzklAdapter.Metadata internal model;
    VmlClaim.Claim internal claim;
    bytes internal transcript;
    uint256[] internal words;

    function setUp() external {
        generated = new MockGenerated();
        prepare("public", "public", 5, 3, 96);
    }

    /// @dev An honest proof of a model with so many words, and the mock told what to expect.
    function prepare(string memory input, string memory weights, uint256 inputs, uint256 outputs, uint256 bytes_)
        internal
    {
        adapter = new EzklAdapter(string.concat(PREFIX, input, "/model-", weights));
        bool open = adapter.inputIsPublic();
        claim.model = MODEL;
        claim.context = keccak256("context");
        transcript = new bytes(0);
        for (uint256 i = 0; i < bytes_; ++i) {
            transcript.push(bytes1(uint8(i + 1)));
        }
        delete words;
        for (uint256 i = 0; i < inputs; ++i) {
            // Integers of both signs, or digests.
            words.push(open ? (i % 2 == 0 ? i : R - i) : uint256(keccak256(abi.encode(i))) % R);
        }
        if (open) pushContext();
        else words.push(12_345);
        if (adapter.modelIsPrivate()) words.push(uint256(PARAMETERS));
        for (uint256 i = 0; i < outputs; ++i) {
            words.push(i % 2 == 0 ? R - 1 - i : i);
        }
        pushContext();
        model.model = MODEL;
        model.verifier = address(generated);
        model.codeHash = address(generated).codehash;
        model.vka = address(0);
        model.vkaDigest = 0;
        model.parameterDigest = adapter.modelIsPrivate() ? PARAMETERS : bytes32(0);
        model.proofBytes = uint32(bytes_);
        model.inputWords = uint32(inputs);
        model.outputWords = uint32(outputs);
        model.inputHeader = open ? abi.encodePacked(hex"08", uint32(1), uint32(1), uint64(inputs)) : bytes(hex"09");
        model.outputHeader = abi.encodePacked(hex"08", uint32(1), uint32(1), uint64(outputs));
        commit();
        generated.become(MockGenerated.Mood.Good);
        generated.expect(abi.encodeCall(IEzklVerifier.verifyProof, (transcript, words)), 0);
    }

    function pushContext() internal {
        for (uint256 i = 0; i < 16; ++i) {
            words.push((uint256(claim.context) >> (240 - 16 * i)) & 0xffff);
        }
    }

    /// @dev The claim that the words make.
    function commit() internal {
        claim.input = keccak256(bytes.concat(model.inputHeader, slice(0, model.inputWords)));
        uint256 from = words.length - 16 - model.outputWords;
        claim.output = keccak256(bytes.concat(model.outputHeader, slice(from, model.outputWords)));
    }

    function slice(uint256 from, uint256 count) internal view returns (bytes memory packed) {
        for (uint256 i = from; i < from + count; ++i) {
            packed = bytes.concat(packed, bytes32(words[i]));
        }
    }

    function makeReusable(bytes32[] memory vka) internal {
        bytes32 digest = keccak256(abi.encodePacked(vka));
        model.vka = DataContract.write(abi.encodePacked(vka));
        model.vkaDigest = digest;
        generated.expect(abi.encodeCall(IEzklReusableVerifier.verifyProof, (transcript, words, vka)), digest);
    }

    function proof() internal view returns (bytes memory) {
        return abi.encode(transcript, words);
    }

    function ask() internal view returns (bool) {
        return adapter.verify(claim, abi.encode(model), proof());
    }

    function askEncoded(bytes memory encoded) external view returns (bool) {
        return adapter.verify(claim, abi.encode(model), encoded);
    }

    function refused(bytes memory why) internal {
        bytes memory metadata = abi.encode(model);
        bytes memory encoded = proof();
        vm.expectRevert(why);
        adapter.verify(claim, metadata, encoded);
    }

    function refusedAs(bytes4 why, bytes memory metadata, bytes memory encoded) internal view {
        try adapter.verify(claim, metadata, encoded) returns (bool) {
            revert Failed("not refused");
        } catch (bytes memory reason) {
            check(bytes4(reason) == why, "another reason");
        }
    }

    // ---- schemes ---------------------------------------------------------------------------------------------------

    function test_everySchemeHasItsLayout() external {
        string[3] memory inputs = ["public", "hashed", "private"];
        for (uint256 i = 0; i < 6; ++i) {
            string memory weights = i % 2 == 0 ? "public" : "private";
            prepare(inputs[i / 2], weights, 4, 2, 64);
            string memory scheme = string.concat(PREFIX, inputs[i / 2], "/model-", weights);
            checkEqual(keccak256(bytes(adapter.scheme())), keccak256(bytes(scheme)), "scheme");
            check(adapter.inputIsPublic() == (i / 2 == 0) && adapter.modelIsPrivate() == (i % 2 == 1), "layout");
            check(ask(), "an honest proof");
        }
    }

    function test_aSchemeThatIsNone() external {
        string[4] memory schemes =
            ["", "ezkl", "ezkl/23.0.5/kzg-bn254/input-public", "ezkl/23.0.5/kzg-bn254/input-public/model-hashed"];
        for (uint256 i = 0; i < 4; ++i) {
            vm.expectRevert(abi.encodeWithSelector(EzklAdapter.SchemeUnknown.selector, schemes[i]));
            new EzklAdapter(schemes[i]);
        }
    }

    function test_interfaces() external view {
        check(adapter.supportsInterface(type(IVmlVerifier).interfaceId), "IVmlVerifier");
        check(adapter.supportsInterface(type(IERC165).interfaceId), "IERC165");
        check(!adapter.supportsInterface(0xffffffff), "nothing else");
    }

    // ---- the question and the answer -------------------------------------------------------------------------------

    /// @dev The mock reverts unless it is asked in canonical encoding.
    function testFuzz_anyLengths(uint8 inputs, uint8 outputs, uint8 proofWords, uint8 vkaWords) external {
        prepare("public", "public", inputs % 21, outputs % 21, uint256(proofWords % 5) * 32);
        check(ask(), "plain");
        bytes32[] memory vka = new bytes32[](uint256(vkaWords) + 1);
        for (uint256 i = 0; i < vka.length; ++i) {
            vka[i] = keccak256(abi.encode(i));
        }
        makeReusable(vka);
        check(ask(), "reusable");
    }

    function test_moodsOfThePlainVerifier() external {
        for (uint256 mood = 1; mood <= uint256(type(MockGenerated.Mood).max); ++mood) {
            generated.become(MockGenerated.Mood(mood));
            try adapter.verify{gas: 5_000_000}(claim, abi.encode(model), proof()) returns (bool answer) {
                check(!answer, "accepted");
            } catch (bytes memory reason) {
                check(reason.length == 0, "an answer that is none");
            }
        }
    }

    function test_moodsOfTheReusableVerifier() external {
        makeReusable(new bytes32[](3));
        check(ask(), "honest");
        for (uint256 mood = 1; mood <= uint256(type(MockGenerated.Mood).max); ++mood) {
            generated.become(MockGenerated.Mood(mood));
            check(!adapter.verify{gas: 5_000_000}(claim, abi.encode(model), proof()), "accepted");
        }
    }

    function test_theDigestOfTheVkaIsPinned() external {
        makeReusable(new bytes32[](3));
        bytes32 found = model.vkaDigest;
        model.vkaDigest = keccak256("another");
        refused(abi.encodeWithSelector(EzklAdapter.VkaMismatch.selector, model.vkaDigest, found));
    }

    function test_aVkaThatIsNotThere() external {
        makeReusable(new bytes32[](3));
        address[3] memory pointers = [address(1), DataContract.write(""), DataContract.write(new bytes(33))];
        for (uint256 i = 0; i < 3; ++i) {
            model.vka = pointers[i];
            refused(abi.encodeWithSelector(EzklAdapter.VkaMissing.selector, pointers[i]));
        }
    }

    function test_theCodeOfTheVerifierIsPinned() external {
        bytes32 found = address(this).codehash;
        model.verifier = address(this);
        refused(abi.encodeWithSelector(EzklAdapter.VerifierChanged.selector, address(this), model.codeHash, found));
        model.verifier = address(0xdead);
        refused(
            abi.encodeWithSelector(EzklAdapter.VerifierChanged.selector, address(0xdead), model.codeHash, bytes32(0))
        );
        // Even an owner who pins nothing gets no yes out of an account without code.
        model.codeHash = 0;
        (bool success, bytes memory answer) =
            address(adapter).staticcall(abi.encodeCall(IVmlVerifier.verify, (claim, abi.encode(model), proof())));
        check(!success || !abi.decode(answer, (bool)), "no code");
    }

    // ---- encodings -------------------------------------------------------------------------------------------------

    function testFuzz_oneEncoding(uint16 at, uint8 bits) external view {
        bytes memory encoded = proof();
        bits = bits == 0 ? 1 : bits;
        encoded[at % encoded.length] ^= bytes1(bits);
        try this.askEncoded(encoded) returns (bool answer) {
            check(!answer, "another encoding");
        } catch {}
    }

    function testFuzz_noSurplus(bytes calldata surplus) external view {
        vm.assume(surplus.length > 0);
        refusedAs(EzklAdapter.NotCanonical.selector, abi.encode(model), bytes.concat(proof(), surplus));
    }

    function testFuzz_noOtherBytes(bytes calldata other) external view {
        refusedAs(EzklAdapter.NotCanonical.selector, abi.encode(model), other);
    }

    /// @dev What abi.decode would take: offsets that leave gaps, swap the parts or overlap.
    function test_lenientEncodings() external view {
        uint256 proofPart = 32 + transcript.length;
        bytes memory first = bytes.concat(bytes32(transcript.length), transcript);
        bytes memory second = bytes.concat(bytes32(words.length), slice(0, words.length));
        bytes[3] memory others = [
            bytes.concat(bytes32(uint256(0x60)), bytes32(0x60 + proofPart), bytes32(0), first, second),
            bytes.concat(bytes32(uint256(0x40)), bytes32(0x60 + proofPart), first, bytes32(0), second),
            bytes.concat(bytes32(0x40 + second.length), bytes32(uint256(0x40)), second, first)
        ];
        for (uint256 i = 0; i < 3; ++i) {
            (bytes memory decoded, uint256[] memory decodedWords) = abi.decode(others[i], (bytes, uint256[]));
            checkEqual(keccak256(abi.encode(decoded, decodedWords)), keccak256(proof()), "means the same");
            refusedAs(EzklAdapter.NotCanonical.selector, abi.encode(model), others[i]);
        }
        check(ask(), "the canonical one");
    }

    function test_aProofOfHalfAWord() external {
        prepare("public", "public", 2, 2, 65);
        refusedAs(EzklAdapter.NotCanonical.selector, abi.encode(model), proof());
    }

    function test_metadataThatReachesOutOfItself() external view {
        bytes memory metadata = abi.encode(model);
        bytes memory encoded = proof();
        for (uint256 length = 0; length < metadata.length; length += 32) {
            bytes memory cut = metadata;
            assembly {
                mstore(cut, length)
            }
            (bool success,) = address(adapter).staticcall(abi.encodeCall(IVmlVerifier.verify, (claim, cut, encoded)));
            check(!success, "cut metadata");
        }
    }

    // ---- words -----------------------------------------------------------------------------------------------------

    function test_everyFieldOfTheClaim() external {
        VmlClaim.Claim memory honest = claim;
        claim.model = 0;
        refused(abi.encodeWithSelector(EzklAdapter.ModelMismatch.selector, MODEL, bytes32(0)));
        claim.model = MODEL;
        claim.input = 0;
        refused(abi.encodeWithSelector(EzklAdapter.InputMismatch.selector, honest.input, bytes32(0)));
        claim.input = honest.input;
        claim.output = 0;
        refused(abi.encodeWithSelector(EzklAdapter.OutputMismatch.selector, honest.output, bytes32(0)));
        claim.output = honest.output;
        claim.context = 0;
        refused(abi.encodeWithSelector(EzklAdapter.ContextMismatch.selector, bytes32(0)));
    }

    function testFuzz_everyWord(uint256 index, uint256 value, bool hashed) external {
        if (hashed) prepare("hashed", "private", 3, 2, 64);
        index = bound(index, 0, words.length - 1);
        vm.assume(words[index] != value);
        words[index] = value;
        // Without the claim made to fit, and with it: the mock knows the honest words only.
        try this.askEncoded(proof()) returns (bool answer) {
            check(!answer, "another word");
        } catch {}
        commit();
        try this.askEncoded(proof()) returns (bool answer) {
            check(!answer, "another word, and its claim");
        } catch {}
    }

    function test_theRangeOfValues() external {
        uint256[8] memory values =
            [uint256(1 << 53), R - (1 << 53), R, R + 1, 1 << 128, type(uint256).max, R / 2, (1 << 53) + 1];
        // Every place of the input, whole groups of four and the rest, and of the output.
        uint256[6] memory places = [uint256(0), 1, 3, 4, 21, 23];
        for (uint256 i = 0; i < values.length; ++i) {
            for (uint256 j = 0; j < places.length; ++j) {
                uint256 before = words[places[j]];
                words[places[j]] = values[i];
                commit();
                refused(abi.encodeWithSelector(EzklAdapter.InstanceOutOfRange.selector));
                words[places[j]] = before;
            }
        }
        uint256[4] memory edges = [uint256(0), (1 << 53) - 1, R - ((1 << 53) - 1), R - 1];
        for (uint256 i = 0; i < edges.length; ++i) {
            words[2] = edges[i];
            commit();
            generated.expect(abi.encodeCall(IEzklVerifier.verifyProof, (transcript, words)), 0);
            check(ask(), "an edge");
        }
    }

    function test_digestsAreElements() external {
        prepare("private", "private", 2, 2, 64);
        for (uint256 i = 0; i < 4; ++i) {
            uint256 before = words[i];
            words[i] = R;
            commit();
            refused(abi.encodeWithSelector(EzklAdapter.InstanceOutOfRange.selector));
            words[i] = before;
        }
        words[3] = uint256(PARAMETERS) + 1;
        refused(abi.encodeWithSelector(EzklAdapter.ParametersMismatch.selector));
    }

    /// @dev 0x10000 in one limb and one less in the limb before pack to the same number.
    function test_limbsThatCarry() external {
        uint256 last = words.length - 1;
        words[last - 1] -= 1;
        words[last] += 0x10000;
        refused(abi.encodeWithSelector(EzklAdapter.ContextMismatch.selector, claim.context));
    }

    /// @dev Both copies of a public context are compared.
    function test_theContextOfTheInput() external {
        words[5 + 7] ^= 1;
        refused(abi.encodeWithSelector(EzklAdapter.ContextMismatch.selector, claim.context));
    }
}
