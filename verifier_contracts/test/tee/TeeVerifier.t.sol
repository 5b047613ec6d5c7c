// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";
import {ISignerRegistry} from "src/interfaces/ISignerRegistry.sol";
import {IVmlVerifier} from "src/interfaces/IVmlVerifier.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {Receipts} from "src/tee/Receipts.sol";
import {TeeVerifier} from "src/tee/TeeVerifier.sol";
import {TeeBench} from "test/tee/TeeBench.sol";

/// @title P-256 as a chain has it at 0x100: one word that is 1, or no data at all
contract P256Precompile {
    fallback(bytes calldata question) external returns (bytes memory answer) {
        (bytes32 h, bytes32 r, bytes32 s, bytes32 x, bytes32 y) =
            abi.decode(question, (bytes32, bytes32, bytes32, bytes32, bytes32));
        uint256 order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551;
        // The precompile takes both halves; OpenZeppelin the lower one.
        if (uint256(s) > order / 2 && uint256(s) < order) s = bytes32(order - uint256(s));
        if (P256.verifySolidity(h, r, s, x, y)) answer = abi.encode(uint256(1));
    }
}

/// @title What stands at 0x100 of a chain that has something else there: it says yes to everything
contract YesPrecompile {
    fallback(bytes calldata) external returns (bytes memory) {
        return abi.encode(uint256(1));
    }
}

contract TeeVerifierTest is TeeBench {
    VmlClaim.Claim internal claim;
    bytes32 internal record;

    function setUp() public override {
        super.setUp();
        record = admit();
        admitP256();
        claim = claimOf("output");
    }

    function test_aReceiptProves() external {
        check(proves(claim, receipt(claim, 1)), "verify");
        check(router.verifyEntry(key, claim, withSelector(receipt(claim, 1))) == teeSelector, "through the router");
        bytes32 digest = router.record(key, claim, withSelector(receipt(claim, 1)));
        checkEqual(digest, VmlClaim.digest(claim), "recorded");
        check(tee.supportsInterface(type(IVmlVerifier).interfaceId), "a verifier");
        check(teeSelector == bytes4(keccak256("tee/1")), "the selector");
        checkEqual(Receipts.DOMAIN_SEPARATOR, VmlClaim.DOMAIN_SEPARATOR, "the domain of claims");
    }

    function test_aVerdictSaysHow() external {
        TeeVerifier.Verdict memory found = tee.verdict(claim, metadata(ALL_MODES, 0), receipt(claim, 9));
        check(found.mode == QUORUM && !found.simulated, "how it came in");
        check(found.notAfter == certificate.notAfter && found.epoch == EPOCH, "until when");
        check(found.sequence == 9 && found.issuedAt == NOW, "which");
        check(found.keyId == keyId && found.record == record, "whose");
        checkEqual(found.evidence, finding.evidence, "on what evidence");
        bytes memory other = receipt(claimOf("another"), 9);
        bytes memory registered = metadata(ALL_MODES, 0);
        vm.expectRevert(TeeVerifier.NotProved.selector);
        tee.verdict(claim, registered, other);
    }

    function testFuzz_everySequence(uint64 sequence, VmlClaim.Claim memory other) external view {
        other.model = MODEL;
        check(proves(other, receipt(other, sequence)), "secp256k1");
    }

    // ---- P-256 -----------------------------------------------------------------------------------------------------

    function test_p256WithoutAPrecompile() external view {
        check(!tee.hasP256Precompile(), "nothing at 0x100");
        check(proves(claim, receiptP256(claim, 1)), "computed");
        check(!proves(claim, receiptP256(claimOf("another"), 1)), "another claim");
    }

    function withPrecompile(bytes memory code) private returns (TeeVerifier made) {
        vm.etch(address(0x100), code);
        made = new TeeVerifier();
        bytes32 digest = made.admissionDigest(ALICE, rules, certificateP256, finding);
        made.admitByQuorum(ALICE, rules, certificateP256, finding, signedBy([uint256(0), 1, 2], digest));
    }

    function test_p256WithAPrecompile() external {
        TeeVerifier native = withPrecompile(type(P256Precompile).runtimeCode);
        check(native.hasP256Precompile(), "found");
        bytes memory registered = metadata(ALL_MODES, 0);
        check(native.verify(claim, registered, receiptP256(claim, 1)), "accepted");
        check(!native.verify(claim, registered, receiptP256(claimOf("another"), 1)), "refused");
        check(!native.verify(claim, registered, highS(receiptP256(claim, 1))), "one form, though it takes two");
        // It is gone: no data is no.
        vm.etch(address(0x100), "");
        check(!native.verify(claim, registered, receiptP256(claim, 1)), "an empty answer");
        vm.etch(address(0x100), hex"60015ff3");
        check(!native.verify(claim, registered, receiptP256(claim, 1)), "one byte");
        // 64 bytes that begin with 1.
        vm.etch(address(0x100), hex"60015f5260405ff3");
        check(!native.verify(claim, registered, receiptP256(claim, 1)), "two words");
        vm.etch(address(0x100), hex"60025f5260205ff3");
        check(!native.verify(claim, registered, receiptP256(claim, 1)), "two");
        vm.etch(address(0x100), hex"60015f5260205ffd");
        check(!native.verify(claim, registered, receiptP256(claim, 1)), "a revert");
    }

    function test_whatSaysYesToEverythingIsNoPrecompile() external {
        TeeVerifier made = withPrecompile(type(YesPrecompile).runtimeCode);
        check(!made.hasP256Precompile(), "it said yes to a wrong signature");
        check(made.verify(claim, metadata(ALL_MODES, 0), receiptP256(claim, 1)), "computed");
        check(!made.verify(claim, metadata(ALL_MODES, 0), receiptP256(claimOf("x"), 1)), "computed");
    }

    function highS(bytes memory proof) private pure returns (bytes memory) {
        uint256 order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551;
        uint256 s;
        assembly ("memory-safe") {
            s := mload(add(proof, mload(proof)))
            mstore(add(proof, mload(proof)), sub(order, s))
        }
        return proof;
    }

    function test_p256HasOneForm() external view {
        check(!proves(claim, highS(receiptP256(claim, 1))), "s in the upper half");
    }

    /// The key in the proof is the one that was admitted.
    function test_anotherP256Key() external view {
        bytes memory proof = receiptP256(claim, 1);
        (uint256 x, uint256 y) = vm.publicKeyP256(ENCLAVE_P256 + 1);
        (bytes32 r, bytes32 s) = vm.signP256(ENCLAVE_P256 + 1, digestOf(claim, keyIdP256, 1));
        uint256 order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551;
        if (uint256(s) > order / 2) s = bytes32(order - uint256(s));
        bytes memory other = abi.encodePacked(head(1, QUORUM, keyIdP256, 1), x, y, r, s);
        check(proof.length == other.length && !proves(claim, other), "its own signature, under another's name");
    }

    // ---- batches ---------------------------------------------------------------------------------------------------

    function test_batches() external view {
        uint32[7] memory counts = [uint32(1), 2, 3, 4, 5, 8, 33];
        for (uint256 i = 0; i < counts.length; ++i) {
            for (uint32 index = 0; index < counts[i]; ++index) {
                bytes memory proof = batched(claim, counts[i], index);
                check(proves(claim, proof), "each of its receipts");
                check(!proves(claimOf("another"), proof), "and no other");
            }
        }
    }

    function test_depths() external pure {
        for (uint256 count = 1; count < 200; ++count) {
            uint256 depth = Receipts.depthOf(count);
            check(2 ** depth >= count && (depth == 0 || 2 ** (depth - 1) < count), "the smallest");
        }
        checkEqual(Receipts.depthOf(type(uint32).max), 32, "the deepest");
    }

    // ---- metadata and modes ----------------------------------------------------------------------------------------

    function test_modesThatTheOwnerAccepts() external {
        bytes memory proof = receipt(claim, 1);
        check(tee.verify(claim, metadata(1 << 1, 0), proof), "quorum");
        bytes memory without = metadata(1 << 2 | 1 << 3, 0);
        vm.expectRevert(abi.encodeWithSelector(TeeVerifier.ModeRefused.selector, 1));
        tee.verify(claim, without, proof);
        // Admitted by a quorum is not admitted on chain.
        proof[1] = 0x02;
        vm.expectPartialRevert(ISignerRegistry.KeyUnknown.selector);
        tee.verify(claim, without, proof);
    }

    function test_modesThatAreNotThere() external {
        bytes memory all = metadata(ALL_MODES, 0);
        for (uint256 mode = 0; mode < 256; ++mode) {
            if (mode >= 1 && mode <= 4) continue;
            bytes memory proof = receipt(claim, 1);
            proof[1] = bytes1(uint8(mode));
            vm.expectRevert(abi.encodeWithSelector(TeeVerifier.ModeUnsupported.selector, mode));
            tee.verify(claim, all, proof);
            bytes memory wide = metadata(1 << mode, 0);
            vm.expectRevert(TeeVerifier.MetadataMalformed.selector);
            tee.verify(claim, wide, proof);
        }
    }

    function test_metadataHasFourWords() external {
        bytes memory good = metadata(ALL_MODES, 0);
        bytes memory proof = receipt(claim, 1);
        for (uint256 length = 0; length < 200; ++length) {
            if (length == 128) continue;
            bytes memory other = new bytes(length);
            for (uint256 i = 0; i < length && i < 128; ++i) {
                other[i] = good[i];
            }
            vm.expectRevert(TeeVerifier.MetadataMalformed.selector);
            tee.verify(claim, other, proof);
        }
        for (uint256 i = 0; i < 120; ++i) {
            // High bytes of owner, modes and epoch.
            if (i >= 12 && i < 64) continue;
            if (i == 95) continue;
            bytes memory other = bytes.concat(good);
            other[i] = 0x01;
            vm.expectRevert(TeeVerifier.MetadataMalformed.selector);
            tee.verify(claim, other, proof);
        }
    }

    function test_epochsOfTheMetadata() external {
        bytes memory proof = receipt(claim, 1);
        check(tee.verify(claim, metadata(ALL_MODES, EPOCH), proof), "this one");
        bytes memory later = metadata(ALL_MODES, EPOCH + 1);
        vm.expectPartialRevert(ISignerRegistry.EpochRotated.selector);
        tee.verify(claim, later, proof);
    }

    /// Whatever metadata and proof are: an answer or a named error.
    function testFuzz_noOtherEnds(bytes calldata anyMetadata, bytes calldata anyProof, uint256 which) external view {
        bytes memory registered = which & 1 == 0 ? metadata(ALL_MODES, 0) : anyMetadata;
        bytes memory proof = which & 2 == 0
            ? anyProof
            : bytes.concat(head(uint8(which >> 2), QUORUM, which & 512 == 0 ? keyId : keyIdP256, 1), anyProof);
        try tee.verify(claim, registered, proof) returns (bool valid) {
            check(!valid, "nothing is proved by accident");
        } catch (bytes memory why) {
            bytes4 id = bytes4(why);
            bool named = id == Receipts.NotCanonical.selector || id == TeeVerifier.MetadataMalformed.selector
                || id == TeeVerifier.ModeUnsupported.selector || id == TeeVerifier.ModeRefused.selector
                || id == ISignerRegistry.KeyUnknown.selector || id == ISignerRegistry.EpochRotated.selector;
            check(named, "an error with a name");
        }
    }
}
