// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ISignerRegistry} from "src/interfaces/ISignerRegistry.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {KeyCertificate} from "src/tee/KeyCertificate.sol";
import {Receipts} from "src/tee/Receipts.sol";
import {TeeVerifier} from "src/tee/TeeVerifier.sol";
import {TeeBench} from "test/tee/TeeBench.sol";

/// @title Receipts that prove nothing
contract TeeAttacks is TeeBench {
    VmlClaim.Claim internal claim;

    function setUp() public override {
        super.setUp();
        admit();
        admitP256();
        claim = claimOf("output");
    }

    // ---- the four standing attacks ---------------------------------------------------------------------------------

    function testFuzz_anotherClaim(uint256 which, uint256 bit, bool p256) external {
        bytes memory proof = p256 ? receiptP256(claim, 1) : receipt(claim, 1);
        bytes32 flip = bytes32(1 << bound(bit, 0, 255));
        which = bound(which, 0, 3);
        if (which == 0) {
            claim.model ^= flip;
            bytes memory registered = metadata(ALL_MODES, 0);
            vm.expectPartialRevert(ISignerRegistry.KeyUnknown.selector);
            tee.verify(claim, registered, proof);
            return;
        }
        if (which == 1) claim.input ^= flip;
        if (which == 2) claim.output ^= flip;
        if (which == 3) claim.context ^= flip;
        check(!proves(claim, proof), "the signature is of another claim");
        check(!accepted(key, claim, withSelector(proof)), "nor through the router");
    }

    /// A key of one model signs for another, of the same owner.
    function test_anotherModelsKey() external {
        bytes32 model = keccak256("another model");
        bytes32 other = register(ALICE, model);
        enable(ALICE, other, teeSelector, metadata(ALL_MODES, 0));
        claim.model = model;
        check(!accepted(other, claim, withSelector(receipt(claim, 1))), "admitted for one model");
    }

    /// Somebody's worthless rules are nobody else's, and Mallory's entry that leans on Alice's keys is Mallory's.
    function test_othersRules() external {
        rules.attestors[0] = vm.addr(1);
        rules.threshold = 1;
        bytes memory signature = signedBy(1, tee.admissionDigest(ALICE, rules, certificate, finding));
        certificate.x = keccak256("a key of Mallory's");
        signature = signedBy(1, tee.admissionDigest(ALICE, rules, certificate, finding));
        tee.admitByQuorum(ALICE, rules, certificate, finding, signature);
        keyId = KeyCertificate.keyId(1, certificate.x, certificate.y);
        check(!accepted(key, claim, withSelector(receipt(claim, 1))), "not under the rules that Alice named");
    }

    // ---- every byte of a receipt -----------------------------------------------------------------------------------

    function testFuzz_everyByteCounts(uint256 at, uint8 flip, uint256 which) external view {
        vm.assume(flip != 0);
        which = bound(which, 0, 2);
        bytes memory proof = which == 0 ? receipt(claim, 7) : which == 1 ? receiptP256(claim, 7) : batched(claim, 6, 5);
        proof[bound(at, 0, proof.length - 1)] ^= bytes1(flip);
        try tee.verify(claim, metadata(ALL_MODES, 0), proof) returns (bool valid) {
            check(!valid, "another proof");
        } catch {}
    }

    function test_lengths() external {
        bytes[3] memory proofs = [receipt(claim, 1), receiptP256(claim, 1), batched(claim, 5, 1)];
        for (uint256 k = 0; k < 3; ++k) {
            bytes memory longer = proofs[k];
            receiptRefused(claim, bytes.concat(longer, hex"00"), Receipts.NotCanonical.selector);
            receiptRefused(claim, bytes.concat(longer, bytes32(0)), Receipts.NotCanonical.selector);
            for (uint256 length = 0; length < longer.length; ++length) {
                bytes memory part = new bytes(length);
                for (uint256 i = 0; i < length; ++i) {
                    part[i] = longer[i];
                }
                receiptRefused(claim, part, Receipts.NotCanonical.selector);
            }
        }
    }

    function test_forms() external {
        for (uint256 form = 0; form < 256; ++form) {
            bytes memory proof = receipt(claim, 1);
            proof[0] = bytes1(uint8(form));
            if (form != 1) receiptRefused(claim, proof, Receipts.NotCanonical.selector);
            proof = batched(claim, 5, 1);
            proof[0] = bytes1(uint8(form));
            if (form != 2) receiptRefused(claim, proof, Receipts.NotCanonical.selector);
        }
    }

    function test_aSignatureHasOneForm() external view {
        bytes memory digest = head(1, QUORUM, keyId, 1);
        bytes memory signature = signedBy(ENCLAVE, digestOf(claim, keyId, 1));
        check(proves(claim, bytes.concat(digest, signature)), "this one");
        check(!proves(claim, bytes.concat(digest, s2(signature))), "the other s");
        for (uint256 v = 0; v < 256; ++v) {
            if (v == uint8(signature[64])) continue;
            bytes memory other = bytes.concat(signature);
            other[64] = bytes1(uint8(v));
            check(!proves(claim, bytes.concat(digest, other)), "another v");
        }
        check(!proves(claim, bytes.concat(digest, new bytes(65))), "zeros");
    }

    function test_anotherKeysSignature() external view {
        bytes memory forged = signedBy(ENCLAVE + 1, digestOf(claim, keyId, 1));
        check(!proves(claim, bytes.concat(head(1, QUORUM, keyId, 1), forged)), "under the key's name");
    }

    function test_keysThatNobodyAdmitted() external {
        keyId = KeyCertificate.keyId(1, bytes32(uint256(1)), bytes32(uint256(2)));
        receiptRefused(claim, receipt(claim, 1), ISignerRegistry.KeyUnknown.selector);
    }

    // ---- time, epochs, revocation ----------------------------------------------------------------------------------

    function test_expired() external {
        bytes memory early = receipt(claim, 1);
        vm.warp(certificate.notAfter);
        check(proves(claim, early) && proves(claim, receipt(claim, 2)), "the last second");
        vm.warp(certificate.notAfter + 1);
        // Also what says it was signed in time: who has the key now can write that.
        receiptRefused(claim, early, ISignerRegistry.KeyIsExpired.selector);
        receiptRefused(claim, receipt(claim, 2), ISignerRegistry.KeyIsExpired.selector);
    }

    function test_signedForLater() external {
        vm.warp(certificate.notAfter + 1);
        bytes memory late = receipt(claim, 1);
        vm.warp(NOW);
        receiptRefused(claim, late, TeeVerifier.IssuedOutOfTime.selector);
    }

    function test_revoked() external {
        bytes memory proof = receipt(claim, 1);
        bytes32 id = tee.rulesId(rules);
        vm.prank(ALICE);
        tee.revoke(MODEL, id, keyId, EPOCH, QUORUM);
        receiptRefused(claim, proof, ISignerRegistry.KeyIsRevoked.selector);
        check(proves(claim, receiptP256(claim, 1)), "the other key lives");
    }

    function test_rotated() external {
        bytes memory proof = receipt(claim, 1);
        vm.prank(ALICE);
        tee.raiseEpoch(MODEL, EPOCH);
        check(proves(claim, proof), "this epoch");
        vm.prank(ALICE);
        tee.raiseEpoch(MODEL, EPOCH + 1);
        receiptRefused(claim, proof, ISignerRegistry.EpochRotated.selector);
        // A receipt that names the new epoch is not signed, and the key is not of it.
        proof = bytes.concat(proof);
        proof[41] = bytes1(uint8(EPOCH + 1));
        receiptRefused(claim, proof, ISignerRegistry.KeyUnknown.selector);
    }

    /// The state of a local chain, taken to another.
    function test_simulatedKeysStayOnLocalChains() external {
        vm.chainId(31_337);
        finding.simulated = true;
        certificate.notAfter += 1;
        admit();
        bytes memory proof = receipt(claim, 1);
        check(proves(claim, proof), "on a local chain");
        check(tee.verdict(claim, metadata(ALL_MODES, 0), proof).simulated, "and the verdict says it");
        vm.chainId(1);
        receiptRefused(claim, proof, ISignerRegistry.SimulatedEvidence.selector);
        vm.chainId(31_337);
        vm.warp(certificate.notAfter);
        check(proves(claim, receipt(claim, 2)), "also in its last second");
        vm.warp(certificate.notAfter + 1);
        receiptRefused(claim, proof, ISignerRegistry.KeyIsExpired.selector);
        receiptRefused(claim, receipt(claim, 2), ISignerRegistry.KeyIsExpired.selector);
        bytes memory late = receipt(claim, 3);
        vm.warp(certificate.notAfter);
        receiptRefused(claim, late, TeeVerifier.IssuedOutOfTime.selector);
    }

    // ---- batches ---------------------------------------------------------------------------------------------------

    /// A path of another length is of another count, which the key did not sign.
    function test_anotherCount() external {
        for (uint32 count = 0; count < 20; ++count) {
            bytes memory proof = batched(claim, 5, 1);
            proof[126] = bytes1(uint8(count));
            if (count == 5) {
                check(proves(claim, proof), "this one");
            } else if (count < 2 || Receipts.depthOf(count) != 3) {
                receiptRefused(claim, proof, Receipts.NotCanonical.selector);
            } else {
                check(!proves(claim, proof), "signed was another count");
            }
        }
    }

    /// Neither a node nor what pads the tree is a receipt, and no index reaches beyond.
    function test_anotherIndex() external {
        for (uint32 index = 0; index < 20; ++index) {
            bytes memory proof = batched(claim, 5, 4);
            proof[130] = bytes1(uint8(index));
            if (index == 4) check(proves(claim, proof), "this one");
            else if (index > 4) receiptRefused(claim, proof, Receipts.NotCanonical.selector);
            else check(!proves(claim, proof), "another place");
        }
    }

    function test_aBatchIsNoReceipt() external view {
        // One receipt in a batch: the root is the receipt's digest, and still not what is signed for it alone.
        bytes memory proof = batched(claim, 1, 0);
        check(proves(claim, proof), "a batch of one");
        bytes memory single = new bytes(123);
        for (uint256 i = 0; i < 123; ++i) {
            single[i] = proof[i];
        }
        single[0] = 0x01;
        check(!proves(claim, single), "as a receipt");
        proof = bytes.concat(receipt(claim, 0), abi.encodePacked(uint32(1), uint32(0)));
        proof[0] = 0x02;
        check(!proves(claim, proof), "a receipt as a batch");
    }

    // ---- admission -------------------------------------------------------------------------------------------------

    /// What a key signs for claims admits nothing, also where the key is an attestor's.
    function test_aReceiptIsNoAdmission() external {
        (rules.attestors, rules.threshold) = (new address[](1), 1);
        rules.attestors[0] = vm.addr(ENCLAVE);
        bytes32[3] memory signed = [digestOf(claim, keyId, 1), Receipts.batchDigest(keyId, EPOCH, 1, 0), bytes32(0)];
        signed[2] = tee.revocationDigest(recordIn(QUORUM));
        for (uint256 i = 0; i < 3; ++i) {
            admissionRefused(signedBy(ENCLAVE, signed[i]), ISignerRegistry.NotAnAttestor.selector);
        }
        admissionRefused(new bytes(65), ISignerRegistry.SignatureInvalid.selector);
        bytes memory admission = signedBy(ENCLAVE, admissionDigest());
        tee.admitByQuorum(ALICE, rules, certificate, finding, admission);
        check(proves(claim, receipt(claim, 1)), "an attestor's key that is admitted");
        check(!proves(claim, bytes.concat(head(1, QUORUM, keyId, 1), admission)), "nor is an admission a receipt");
    }

    /// No address is nobody's: what no signature recovers to is no attestor, though the rules name it.
    function test_noAttestorIsZero() external {
        (rules.attestors, rules.threshold) = (new address[](2), 2);
        admissionRefused(new bytes(130), ISignerRegistry.SignatureInvalid.selector);
    }

    /// A key came in one way, and says nothing under the name of another, nor in another epoch.
    function test_theWayAKeyCameIn() external {
        for (uint8 mode = 2; mode < 4; ++mode) {
            bytes memory other = receipt(claim, 1);
            other[1] = bytes1(mode);
            receiptRefused(claim, other, ISignerRegistry.KeyUnknown.selector);
        }
        receiptRefused(claim, receiptOf(claim, EPOCH + 1), ISignerRegistry.KeyUnknown.selector);
    }

    /// Attestors' words of before stay true, and bring nothing back.
    function test_anOldAdmissionAfterTheEnd() external {
        bytes memory signatures = quorum();
        vm.warp(NOW + 1 minutes);
        vm.prank(ALICE);
        tee.raiseEpoch(MODEL, EPOCH + 1);
        admissionRefused(signatures, ISignerRegistry.EpochRotated.selector);
        bytes32 id = tee.rulesId(rules);
        vm.prank(ALICE);
        tee.revoke(MODEL, id, keyIdP256, EPOCH, QUORUM);
        certificate = certificateP256;
        certificate.epoch = EPOCH + 1;
        tee.admitByQuorum(ALICE, rules, certificate, finding, signedBy([uint256(1), 2, 3], admissionDigest()));
        check(!accepted(key, claim, withSelector(receiptP256(claim, 1))), "the old epoch's receipts are dead");
    }

    /// Signatures count until their deadline, so a key lives until then and the rules' lifetime, and no longer.
    function testFuzz_anAdmissionAgain(uint32 later) external {
        (certificate.notAfter, finding.collateralEnd) = (type(uint64).max, type(uint64).max);
        bytes memory signatures = quorum();
        vm.warp(NOW + bound(later, 0, 1 hours));
        bytes32 record = tee.admitByQuorum(ALICE, rules, certificate, finding, signatures);
        check(tee.keyOf(record).notAfter <= finding.deadline + rules.lifetime, "no longer");
        vm.warp(finding.deadline + 1);
        admissionRefused(signatures, ISignerRegistry.AdmissionIsExpired.selector);
    }
}
