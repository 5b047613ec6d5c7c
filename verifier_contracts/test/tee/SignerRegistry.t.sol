// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ISignerRegistry} from "src/interfaces/ISignerRegistry.sol";
import {TeeVerifier} from "src/tee/TeeVerifier.sol";
import {TeeBench} from "test/tee/TeeBench.sol";

/// @title Admission by quorum, and how keys end
contract SignerRegistryTest is TeeBench {
    event KeyAdmitted(
        bytes32 indexed record,
        bytes32 indexed keyId,
        bytes32 indexed entry,
        ISignerRegistry.Mode mode,
        ISignerRegistry.Certificate certificate,
        bytes32 rules,
        bytes32 evidence,
        uint64 notAfter,
        bool simulated
    );

    function test_aQuorumAdmits() external {
        bytes memory signatures = quorum();
        bytes32 expected = recordIn(QUORUM);
        bytes32 id = tee.rulesId(rules);
        vm.expectEmit();
        emit KeyAdmitted(expected, keyId, key, QUORUM, certificate, id, finding.evidence, certificate.notAfter, false);
        vm.prank(MALLORY);
        bytes32 record = tee.admitByQuorum(ALICE, rules, certificate, finding, signatures);
        checkEqual(record, expected, "its name");
        ISignerRegistry.Key memory admitted = tee.keyOf(record);
        checkEqual(admitted.signer, vm.addr(ENCLAVE), "the signer");
        checkEqual(admitted.notAfter, certificate.notAfter, "its end");
        check(admitted.mode == QUORUM && admitted.algorithm == 1, "how it came in");
        check(!admitted.simulated && !admitted.revoked, "flags");
        checkEqual(tee.evidenceOf(record), finding.evidence, "its evidence");
    }

    function test_anyThreeOfTheFive() external {
        uint256 count;
        for (uint256 a = 0; a < 3; ++a) {
            for (uint256 b = a + 1; b < 4; ++b) {
                for (uint256 c = b + 1; c < 5; ++c) {
                    certificate.x = keccak256(abi.encode(a, b, c));
                    bytes memory signatures = signedBy([a, b, c], admissionDigest());
                    tee.admitByQuorum(ALICE, rules, certificate, finding, signatures);
                    ++count;
                }
            }
        }
        checkEqual(count, 10, "all of them");
    }

    function test_p256() external {
        ISignerRegistry.Key memory admitted = tee.keyOf(admitP256());
        check(admitted.signer == address(0) && admitted.algorithm == 2, "no address");
    }

    function test_algorithms() external {
        for (uint256 i = 0; i < 256; ++i) {
            if (i == 1 || i == 2) continue;
            certificate.algorithm = uint8(i);
            admissionRefused("", ISignerRegistry.AlgorithmUnknown.selector);
        }
    }

    // ---- when a key ends -------------------------------------------------------------------------------------------

    function endOf(uint64 certified, uint64 collateralEnd, uint32 lifetime) private returns (uint256) {
        certificate.notAfter = certified;
        finding.collateralEnd = collateralEnd;
        rules.lifetime = lifetime;
        return tee.keyOf(admit()).notAfter;
    }

    function test_theSoonestEndCounts() external {
        checkEqual(endOf(uint64(NOW + 1), uint64(NOW + 2), 3), NOW + 1, "the certificate's");
        checkEqual(endOf(uint64(NOW + 9), uint64(NOW + 2), 4), NOW + 2, "the collateral's");
        checkEqual(endOf(uint64(NOW + 9), type(uint64).max, 5), NOW + 5, "the rules'");
        checkEqual(endOf(type(uint64).max, type(uint64).max, 6), NOW + 6, "no overflow");
    }

    function testFuzz_theSoonestEndCounts(uint64 certified, uint64 collateralEnd, uint32 lifetime) external {
        uint256 end = certified < collateralEnd ? certified : collateralEnd;
        if (NOW + lifetime < end) end = NOW + lifetime;
        (certificate.notAfter, finding.collateralEnd, rules.lifetime) = (certified, collateralEnd, lifetime);
        bytes memory signatures = quorum();
        if (end < NOW) return admissionRefused(signatures, ISignerRegistry.KeyIsExpired.selector);
        tee.admitByQuorum(ALICE, rules, certificate, finding, signatures);
        checkEqual(tee.keyOf(recordIn(QUORUM)).notAfter, end, "the soonest");
    }

    function test_renewalProlongs() external {
        finding.collateralEnd = uint64(NOW + 5 days);
        bytes memory first = quorum();
        admit();
        vm.warp(NOW + 4 days);
        finding.deadline = uint64(NOW + 5 days);
        finding.collateralEnd = uint64(NOW + 34 days);
        finding.evidence = keccak256("new evidence");
        bytes32 record = admit();
        checkEqual(tee.keyOf(record).notAfter, NOW + 20 days, "the certificate's end");
        checkEqual(tee.evidenceOf(record), finding.evidence, "the new evidence");
        admissionRefused(quorum(), ISignerRegistry.NotLater.selector);
        finding.collateralEnd = uint64(NOW + 6 days);
        admissionRefused(quorum(), ISignerRegistry.NotLater.selector);
        finding.deadline = uint64(NOW + 1 hours);
        admissionRefused(first, ISignerRegistry.AdmissionIsExpired.selector);
    }

    function test_aDeadlineIsTheLastSecond() external {
        bytes memory signatures = quorum();
        vm.warp(finding.deadline + 1);
        admissionRefused(signatures, ISignerRegistry.AdmissionIsExpired.selector);
        vm.warp(finding.deadline);
        tee.admitByQuorum(ALICE, rules, certificate, finding, signatures);
    }

    function test_ownerRevokes() external {
        bytes32 record = admit();
        bytes32 id = tee.rulesId(rules);
        vm.prank(MALLORY);
        tee.revoke(MODEL, id, keyId, EPOCH, QUORUM);
        check(!tee.keyOf(record).revoked, "Mallory revoked Mallory's");
        vm.prank(ALICE);
        tee.revoke(MODEL, id, keyId, EPOCH, QUORUM);
        check(tee.keyOf(record).revoked, "revoked");
        vm.prank(ALICE);
        vm.expectRevert(error1(ISignerRegistry.KeyIsRevoked.selector, record));
        tee.revoke(MODEL, id, keyId, EPOCH, QUORUM);
        // For good, however late the new end.
        vm.warp(NOW + 10 minutes);
        certificate.notAfter += 5 days;
        admissionRefused(quorum(), ISignerRegistry.KeyIsRevoked.selector);
    }

    function test_revokingComesFirst() external {
        bytes32 id = tee.rulesId(rules);
        vm.prank(ALICE);
        tee.revoke(MODEL, id, keyId, EPOCH, QUORUM);
        admissionRefused(quorum(), ISignerRegistry.KeyIsRevoked.selector);
        certificate.epoch = EPOCH + 1;
        admit();
    }

    function test_aQuorumRevokes() external {
        bytes32 record = admit();
        bytes32 digest = tee.revocationDigest(record);
        bytes memory signatures = signedBy([uint256(0), 1, 2], digest);
        bytes memory two = bytes.concat(signedBy(attestors[0], digest), signedBy(attestors[1], digest));
        vm.expectPartialRevert(ISignerRegistry.SignaturesLength.selector);
        tee.revokeByQuorum(ALICE, MODEL, rules, keyId, EPOCH, QUORUM, two);
        vm.expectPartialRevert(ISignerRegistry.NotAnAttestor.selector);
        tee.revokeByQuorum(ALICE, MODEL, rules, keyId, EPOCH + 1, QUORUM, signatures);
        // Attestors of other rules have no say.
        rules.attestors[0] = vm.addr(1);
        vm.expectRevert();
        tee.revokeByQuorum(ALICE, MODEL, rules, keyId, EPOCH, QUORUM, signatures);
        rules.attestors[0] = vm.addr(attestors[0]);
        tee.revokeByQuorum(ALICE, MODEL, rules, keyId, EPOCH, QUORUM, signatures);
        check(tee.keyOf(record).revoked, "revoked");
        vm.expectRevert(error1(ISignerRegistry.KeyIsRevoked.selector, record));
        tee.revokeByQuorum(ALICE, MODEL, rules, keyId, EPOCH, QUORUM, signatures);
    }

    function test_epochsRise() external {
        vm.prank(ALICE);
        tee.raiseEpoch(MODEL, EPOCH + 1);
        checkEqual(tee.minimumEpochOf(key), EPOCH + 1, "raised");
        admissionRefused(quorum(), ISignerRegistry.EpochRotated.selector);
        vm.prank(ALICE);
        vm.expectPartialRevert(ISignerRegistry.EpochNotRaised.selector);
        tee.raiseEpoch(MODEL, EPOCH + 1);
        certificate.epoch = EPOCH + 1;
        admit();
        vm.prank(MALLORY);
        tee.raiseEpoch(MODEL, type(uint64).max);
        checkEqual(tee.minimumEpochOf(key), EPOCH + 1, "Mallory raised Mallory's");
    }

    // ---- simulated evidence ----------------------------------------------------------------------------------------

    function test_simulatedEvidenceIsForLocalChains() external {
        finding.simulated = true;
        uint64[4] memory foreign = [uint64(1), 10, 11_155_111, 31_336];
        for (uint256 i = 0; i < foreign.length; ++i) {
            vm.chainId(foreign[i]);
            admissionRefused(quorum(), ISignerRegistry.SimulatedEvidence.selector);
        }
        vm.chainId(31_337);
        check(tee.keyOf(admit()).simulated, "on anvil");
        vm.chainId(1337);
        certificate.epoch += 1;
        check(tee.keyOf(admit()).simulated, "on a development chain");
    }

    function test_interfaces() external view {
        check(tee.supportsInterface(type(ISignerRegistry).interfaceId), "ISignerRegistry");
        check(!tee.supportsInterface(0xffffffff), "none");
    }
}

/// @title Admissions that no quorum gave
contract SignerRegistryAttacksTest is TeeBench {
    function test_quorumMinusOne() external {
        bytes32 digest = admissionDigest();
        bytes memory two = bytes.concat(signedBy(attestors[0], digest), signedBy(attestors[1], digest));
        admissionRefused(two, ISignerRegistry.SignaturesLength.selector);
        admissionRefused("", ISignerRegistry.SignaturesLength.selector);
        bytes memory three = quorum();
        admissionRefused(bytes.concat(three, hex"00"), ISignerRegistry.SignaturesLength.selector);
        admissionRefused(bytes.concat(three, signedBy(attestors[3], digest)), ISignerRegistry.SignaturesLength.selector);
    }

    function test_nobodySignsTwice() external {
        bytes32 digest = admissionDigest();
        admissionRefused(signedBy([uint256(1), 1, 2], digest), ISignerRegistry.SignersNotAscending.selector);
        admissionRefused(signedBy([uint256(2), 1, 3], digest), ISignerRegistry.SignersNotAscending.selector);
        // Nor where the rules name an attestor twice.
        rules.attestors[1] = rules.attestors[0];
        admissionRefused(signedBy([uint256(0), 0, 2], admissionDigest()), ISignerRegistry.SignersNotAscending.selector);
    }

    function test_strangersDoNotCount() external {
        bytes32 digest = admissionDigest();
        uint256 stranger = uint256(keccak256("stranger"));
        bytes memory low = signedBy(attestors[0], digest);
        for (uint256 i = 0; i < 3; ++i) {
            uint256[3] memory keys = [attestors[0], attestors[2], attestors[4]];
            keys[i] = stranger;
            bytes memory signatures;
            for (uint256 j = 0; j < 3; ++j) {
                signatures = bytes.concat(signatures, signedBy(keys[j], digest));
            }
            vm.expectRevert();
            tee.admitByQuorum(ALICE, rules, certificate, finding, signatures);
        }
        check(low.length == 65, "65 bytes");
        while (vm.addr(stranger) <= vm.addr(attestors[1])) ++stranger;
        bytes memory last = bytes.concat(low, signedBy(attestors[1], digest), signedBy(stranger, digest));
        admissionRefused(last, ISignerRegistry.NotAnAttestor.selector);
    }

    function test_rulesWithoutAQuorum() external {
        rules.threshold = 0;
        admissionRefused("", ISignerRegistry.ModeNotInRules.selector);
        rules.threshold = 3;
        delete rules.attestors;
        admissionRefused(quorum(), ISignerRegistry.NotAnAttestor.selector);
        // The zero address, which a recovery that fails gives, is no attestor.
        rules.attestors.push(address(0));
        rules.threshold = 1;
        admissionRefused(new bytes(65), ISignerRegistry.SignatureInvalid.selector);
    }

    function test_aSignatureHasOneForm() external {
        rules.threshold = 1;
        bytes memory signature = signedBy(attestors[0], admissionDigest());
        admissionRefused(s2(signature), ISignerRegistry.SignatureInvalid.selector);
        for (uint256 v = 0; v < 256; ++v) {
            if (v == 27 || v == 28) continue;
            bytes memory other = bytes.concat(signature);
            other[64] = bytes1(uint8(v));
            admissionRefused(other, ISignerRegistry.SignatureInvalid.selector);
        }
        tee.admitByQuorum(ALICE, rules, certificate, finding, signature);
    }

    /// Signatures are of all that is admitted: one bit of any field, and it is another admission.
    function testFuzz_signaturesAreOfEverything(uint256 which, uint256 bit) external {
        bytes memory signatures = quorum();
        which = bound(which, 0, 18);
        uint256 flip = 1 << bound(bit, 0, 255);
        address owner = ALICE;
        if (which == 0) owner = address(uint160(owner) ^ uint160(1 << bound(bit, 0, 159)));
        if (which == 1) certificate.algorithm = 2;
        if (which == 2) certificate.x ^= bytes32(flip);
        if (which == 3) certificate.y ^= bytes32(flip);
        if (which == 4) certificate.model ^= bytes32(flip);
        if (which == 5) certificate.policy ^= bytes32(flip);
        if (which == 6) certificate.epoch ^= uint64(1 << bound(bit, 0, 63));
        if (which == 7) certificate.notAfter ^= uint64(1 << bound(bit, 0, 63));
        if (which == 8) finding.evidence ^= bytes32(flip);
        if (which == 9) finding.collateralEnd ^= uint64(1 << bound(bit, 0, 63));
        if (which == 10) finding.simulated = true;
        if (which == 11) finding.deadline += uint64(1 << bound(bit, 0, 32));
        if (which == 12) rules.policy ^= bytes32(flip);
        if (which == 13) rules.lifetime ^= uint32(1 << bound(bit, 0, 31));
        if (which == 14) rules.attestation = MALLORY;
        if (which == 15) rules.tcbStatuses ^= uint16(1 << bound(bit, 0, 15));
        if (which == 16) rules.bodyTypes ^= uint8(1 << bound(bit, 0, 7));
        if (which == 18) certificate.gpus = bytes32(flip);
        if (which == 17) rules.measurements.push(bytes32(flip));
        vm.expectRevert();
        tee.admitByQuorum(owner, rules, certificate, finding, signatures);
    }

    function test_signaturesAreForOneContractOnOneChain() external {
        bytes memory signatures = quorum();
        TeeVerifier other = new TeeVerifier();
        vm.expectRevert();
        other.admitByQuorum(ALICE, rules, certificate, finding, signatures);
        vm.chainId(10);
        vm.expectRevert();
        tee.admitByQuorum(ALICE, rules, certificate, finding, signatures);
        vm.chainId(1);
        tee.admitByQuorum(ALICE, rules, certificate, finding, signatures);
    }

    function test_admissionsAreNoRevocations() external {
        bytes32 record = recordIn(QUORUM);
        bytes memory signatures = quorum();
        vm.expectRevert();
        tee.revokeByQuorum(ALICE, MODEL, rules, keyId, EPOCH, QUORUM, signatures);
        check(tee.revocationDigest(record) != admissionDigest(), "other digests");
    }

    function test_policies() external {
        certificate.policy = keccak256("another policy");
        admissionRefused(quorum(), ISignerRegistry.PolicyMismatch.selector);
    }
}
