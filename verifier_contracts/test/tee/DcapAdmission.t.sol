// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IDcapAttestation} from "src/interfaces/IDcapAttestation.sol";
import {ISignerRegistry} from "src/interfaces/ISignerRegistry.sol";
import {DcapOutput} from "src/tee/DcapOutput.sol";
import {TeeVerifier} from "src/tee/TeeVerifier.sol";
import {MockAttestation} from "test/tee/MockAttestation.sol";
import {TeeBench} from "test/tee/TeeBench.sol";

/// @title Owns a model, names itself as the attestation contract, and revokes while it is asked
contract RevokingAttestation is IDcapAttestation {
    bytes private output;
    bytes private call;
    TeeVerifier private tee;

    function set(bool, bytes calldata output_) external {
        output = output_;
    }

    function revokeWhenAsked(TeeVerifier tee_, bytes calldata call_) external {
        (tee, call) = (tee_, call_);
    }

    function verifyAndAttestOnChain(bytes calldata) external payable returns (bool, bytes memory) {
        if (call.length == 0) return (true, output);
        (bool success,) = address(tee).call(call);
        require(success, "revoked");
        return (false, "");
    }

    function verifyAndAttestWithZKProof(bytes calldata, uint8, bytes calldata)
        external
        payable
        returns (bool, bytes memory)
    {
        return (false, "");
    }
}

/// @title Admission by a quote that is checked on chain, and by a proof of it
contract DcapAdmissionTest is TeeBench {
    uint256 private constant HEAD = 11;
    uint256 private constant BLOCK = 999;
    bytes private constant QUOTE = "a quote";
    bytes32 private constant MRENCLAVE = keccak256("mrenclave");
    // Intel's order of a TD report is in DcapOutput; these are places in the output.
    uint256 private constant SGX_FLAGS = HEAD + 48;
    uint256 private constant SGX_MRENCLAVE = HEAD + 64;
    uint256 private constant SGX_REPORT_DATA = HEAD + 320;
    uint256 private constant TD_ATTRIBUTES = HEAD + 120;
    uint256 private constant TD_MRTD = HEAD + 136;
    uint256 private constant TD_RTMR = HEAD + 328;
    uint256 private constant TD_REPORT_DATA = HEAD + 520;
    uint256 private constant TD_SERVICE = HEAD + 600;

    bytes private digestAndNonce;

    function setUp() public override {
        super.setUp();
        digestAndNonce = abi.encode(certificateDigest(), tee.nonceAt(BLOCK));
        rules.measurements[0] = MRENCLAVE;
        rules.measurements.push(keccak256(bytes.concat(filled(48, 0xa0), filled(192, 0xb0))));
    }

    function certificateDigest() private view returns (bytes32) {
        bytes memory cbor = abi.encodePacked(
            hex"a60101025840",
            certificate.x,
            certificate.y,
            hex"035820",
            MODEL,
            hex"045820",
            POLICY,
            hex"0503061a",
            uint32(certificate.notAfter)
        );
        return sha256(bytes.concat("vml/tee-key/v1", cbor));
    }

    function filled(uint256 length, uint8 with) private pure returns (bytes memory data) {
        data = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            data[i] = bytes1(with);
        }
    }

    function put(bytes memory data, uint256 at, bytes memory what) private pure returns (bytes memory) {
        for (uint256 i = 0; i < what.length; ++i) {
            data[at + i] = what[i];
        }
        return data;
    }

    function header(uint16 version, uint16 bodyType) private pure returns (bytes memory) {
        return abi.encodePacked(version, bodyType, uint8(0), hex"00806f050000");
    }

    function sgx() private view returns (bytes memory output) {
        output = bytes.concat(header(3, 1), new bytes(384));
        // INIT and MODE64BIT.
        put(output, SGX_FLAGS, hex"05");
        put(output, SGX_MRENCLAVE, abi.encode(MRENCLAVE));
        put(output, SGX_REPORT_DATA, digestAndNonce);
    }

    function tdx(uint16 version, bool late) private view returns (bytes memory output) {
        output = bytes.concat(header(version, late ? 3 : 2), new bytes(late ? 648 : 584));
        put(output, TD_ATTRIBUTES, hex"0000001000000000");
        put(output, TD_MRTD, filled(48, 0xa0));
        put(output, TD_RTMR, filled(192, 0xb0));
        put(output, TD_REPORT_DATA, digestAndNonce);
    }

    function admitWith(bytes memory output) private returns (bytes32) {
        attestation.set(true, output);
        return tee.admitOnChain(ALICE, rules, certificate, BLOCK, QUOTE);
    }

    function refusedWith(bytes memory output, bytes4 why) private {
        attestation.set(true, output);
        vm.expectPartialRevert(why);
        tee.admitOnChain(ALICE, rules, certificate, BLOCK, QUOTE);
        vm.expectPartialRevert(why);
        tee.admitByZk(ALICE, rules, certificate, BLOCK, ISignerRegistry.ZkProof("", 1, ""));
    }

    // ---- what is admitted ------------------------------------------------------------------------------------------

    function test_sgx() external {
        bytes32 record = admitWith(sgx());
        checkEqual(record, recordIn(ON_CHAIN), "its name");
        ISignerRegistry.Key memory admitted = tee.keyOf(record);
        check(admitted.mode == ON_CHAIN && admitted.signer == vm.addr(ENCLAVE), "how it came in");
        checkEqual(admitted.notAfter, certificate.notAfter, "its end");
        checkEqual(tee.evidenceOf(record), keccak256(QUOTE), "its evidence");
    }

    function test_tdx() external {
        admitWith(tdx(4, false));
    }

    function test_tdx15() external {
        admitWith(tdx(5, true));
    }

    function test_advisoriesFollow() external {
        string[] memory advisories = new string[](1);
        advisories[0] = "INTEL-SA-00615";
        admitWith(bytes.concat(tdx(5, true), abi.encode(advisories)));
        // They stand where a longer body has its service domain.
        certificate.notAfter += 1;
        digestAndNonce = abi.encode(certificateDigest(), tee.nonceAt(BLOCK));
        admitWith(bytes.concat(tdx(4, false), abi.encode(advisories)));
    }

    /// What is neither SGX nor TDX is nothing, also where rules have a bit for it.
    function test_bodyTypesThatAreNone() external {
        rules.bodyTypes = type(uint8).max;
        for (uint16 bodyType = 0; bodyType < 8; ++bodyType) {
            bytes memory output = put(tdx(4, false), 2, abi.encodePacked(bodyType));
            if (bodyType != 2) refusedWith(output, DcapOutput.OutputMalformed.selector);
        }
    }

    function test_zk() external {
        attestation.set(true, tdx(5, true));
        bytes32 record = tee.admitByZk(ALICE, rules, certificate, BLOCK, ISignerRegistry.ZkProof("journal", 1, "proof"));
        checkEqual(record, recordIn(ISignerRegistry.Mode.Zk), "its name");
        check(tee.keyOf(record).mode == ISignerRegistry.Mode.Zk, "how it came in");
        check(tee.keyOf(recordIn(ON_CHAIN)).mode == ISignerRegistry.Mode.None, "and no other way");
        checkEqual(tee.evidenceOf(record), keccak256(tdx(5, true)), "its evidence");
    }

    function test_theLifetimeOfTheRulesEndsIt() external {
        rules.lifetime = 1 days;
        checkEqual(tee.keyOf(admitWith(sgx())).notAfter, NOW + 1 days, "the contract says nothing of collateral");
    }

    // ---- each check alone ------------------------------------------------------------------------------------------

    function test_bodyTypes() external {
        rules.bodyTypes = 1 << 1 | 1 << 3;
        refusedWith(tdx(4, false), DcapOutput.BodyTypeRefused.selector);
        rules.bodyTypes = 1 << 2;
        refusedWith(sgx(), DcapOutput.BodyTypeRefused.selector);
        refusedWith(tdx(5, true), DcapOutput.BodyTypeRefused.selector);
    }

    function test_tcbStatuses() external {
        for (uint256 status = 0; status < 256; ++status) {
            bytes memory output = sgx();
            output[4] = bytes1(uint8(status));
            if (status != 0) refusedWith(output, DcapOutput.TcbStatusRefused.selector);
        }
        rules.tcbStatuses = type(uint16).max;
        bytes memory revoked = sgx();
        revoked[4] = 0x06;
        refusedWith(revoked, DcapOutput.TcbStatusRefused.selector);
        revoked[4] = 0x07;
        refusedWith(revoked, DcapOutput.TcbStatusRefused.selector);
        revoked[4] = 0x10;
        refusedWith(revoked, DcapOutput.TcbStatusRefused.selector);
        revoked[4] = 0x04;
        admitWith(revoked);
    }

    function test_debugEnclave() external {
        refusedWith(put(sgx(), SGX_FLAGS, hex"07"), DcapOutput.DebugEnabled.selector);
    }

    function test_debugDomain() external {
        for (uint256 bit = 0; bit < 8; ++bit) {
            bytes memory flag = abi.encodePacked(uint8(1 << bit));
            refusedWith(put(tdx(4, false), TD_ATTRIBUTES, flag), DcapOutput.DebugEnabled.selector);
            refusedWith(put(tdx(5, true), TD_ATTRIBUTES, flag), DcapOutput.DebugEnabled.selector);
        }
    }

    function test_septVeDisable() external {
        refusedWith(put(tdx(4, false), TD_ATTRIBUTES + 3, hex"00"), DcapOutput.SeptVeEnabled.selector);
        refusedWith(put(tdx(5, true), TD_ATTRIBUTES + 3, hex"ef"), DcapOutput.SeptVeEnabled.selector);
    }

    function test_serviceTd() external {
        for (uint256 i = 0; i < 48; ++i) {
            refusedWith(put(tdx(5, true), TD_SERVICE + i, hex"01"), DcapOutput.ServiceTdPresent.selector);
        }
        // What stands before is the second TCB SVN.
        admitWith(put(tdx(5, true), TD_SERVICE - 16, filled(16, 0xff)));
    }

    function test_aDomainThatCanBeMoved() external {
        refusedWith(put(tdx(4, false), TD_ATTRIBUTES + 3, hex"30"), DcapOutput.ServiceTdPresent.selector);
        refusedWith(put(tdx(5, true), TD_ATTRIBUTES + 3, hex"30"), DcapOutput.ServiceTdPresent.selector);
    }

    function test_measurementOfAnEnclave() external {
        for (uint256 i = 0; i < 32; ++i) {
            refusedWith(put(sgx(), SGX_MRENCLAVE + i, hex"00"), DcapOutput.MeasurementRefused.selector);
        }
        delete rules.measurements;
        refusedWith(sgx(), DcapOutput.MeasurementRefused.selector);
    }

    function test_measurementOfADomain() external {
        for (uint256 i = 0; i < 48; ++i) {
            refusedWith(put(tdx(5, true), TD_MRTD + i, hex"00"), DcapOutput.MeasurementRefused.selector);
        }
        for (uint256 i = 0; i < 192; ++i) {
            refusedWith(put(tdx(5, true), TD_RTMR + i, hex"00"), DcapOutput.MeasurementRefused.selector);
        }
    }

    function test_reportDataNamesTheKey() external {
        for (uint256 i = 0; i < 64; ++i) {
            bytes memory other = bytes.concat(digestAndNonce);
            other[i] ^= 0x01;
            bytes4 why = i < 32 ? DcapOutput.CertificateMismatch.selector : DcapOutput.NonceMismatch.selector;
            refusedWith(put(sgx(), SGX_REPORT_DATA, other), why);
            refusedWith(put(tdx(4, false), TD_REPORT_DATA, other), why);
            refusedWith(put(tdx(5, true), TD_REPORT_DATA, other), why);
        }
        refusedWith(put(sgx(), SGX_REPORT_DATA, new bytes(64)), DcapOutput.CertificateMismatch.selector);
    }

    /// Another key, model, policy, epoch or end is another certificate.
    function testFuzz_theCertificateIsTheEvidences(uint256 which, uint256 bit) external {
        which = bound(which, 0, 6);
        bytes32 flip = bytes32(1 << bound(bit, 0, 255));
        uint64 small = uint64(1 << bound(bit, 0, 63));
        if (which == 0) certificate.algorithm = 2;
        if (which == 1) certificate.x ^= flip;
        if (which == 2) certificate.y ^= flip;
        if (which == 3) certificate.model ^= flip;
        if (which == 4) certificate.policy ^= flip;
        if (which == 5) certificate.epoch ^= small;
        if (which == 6) certificate.notAfter ^= small;
        refusedWith(sgx(), DcapOutput.CertificateMismatch.selector);
    }

    function test_gpusAreForAttestors() external {
        certificate.gpus = keccak256("evidence of GPUs");
        refusedWith(sgx(), ISignerRegistry.GpusNotChecked.selector);
        admit();
    }

    function test_nonces() external {
        attestation.set(true, sgx());
        // Another block's, one that is too old, and one that is none.
        vm.expectPartialRevert(DcapOutput.NonceMismatch.selector);
        tee.admitOnChain(ALICE, rules, certificate, BLOCK - 1, QUOTE);
        uint256[3] memory unknown = [uint256(1000), 1001, 1000 - 257];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectPartialRevert(ISignerRegistry.BlockUnknown.selector);
            tee.admitOnChain(ALICE, rules, certificate, unknown[i], QUOTE);
        }
        vm.roll(BLOCK + 257);
        vm.expectPartialRevert(ISignerRegistry.BlockUnknown.selector);
        tee.admitOnChain(ALICE, rules, certificate, BLOCK, QUOTE);
        vm.roll(1000);
        bytes32 here = tee.nonceAt(BLOCK);
        vm.chainId(10);
        check(tee.nonceAt(BLOCK) != here, "another on every chain");
    }

    function test_outputsThatAreNone() external {
        bytes memory whole = tdx(5, true);
        for (uint256 length = 0; length < whole.length; length += length < 12 ? 1 : 53) {
            bytes memory part = new bytes(length);
            for (uint256 i = 0; i < length; ++i) {
                part[i] = whole[i];
            }
            refusedWith(part, DcapOutput.OutputMalformed.selector);
        }
        refusedWith(bytes.concat(whole, hex"00"), DcapOutput.OutputMalformed.selector);
        uint16[6] memory versions = [uint16(0), 1, 2, 6, 0x0300, 0xffff];
        for (uint256 i = 0; i < versions.length; ++i) {
            refusedWith(put(sgx(), 0, abi.encodePacked(versions[i])), DcapOutput.OutputMalformed.selector);
        }
        uint16[5] memory types = [uint16(0), 4, 0x0100, 0x0101, 0xffff];
        for (uint256 i = 0; i < types.length; ++i) {
            refusedWith(put(sgx(), 2, abi.encodePacked(types[i])), DcapOutput.OutputMalformed.selector);
        }
        // The layout of version 1.0, with four bytes of TEE type.
        refusedWith(
            bytes.concat(hex"000400000081", hex"0000806f050000", new bytes(584)), DcapOutput.OutputMalformed.selector
        );
    }

    /// Whatever the contract answers: no admission.
    function testFuzz_garbage(bytes calldata output) external {
        attestation.set(true, output);
        vm.expectRevert();
        tee.admitOnChain(ALICE, rules, certificate, BLOCK, QUOTE);
    }

    function test_quotesThatAreNotGenuine() external {
        attestation.set(false, sgx());
        vm.expectPartialRevert(ISignerRegistry.AttestationFailed.selector);
        tee.admitOnChain(ALICE, rules, certificate, BLOCK, QUOTE);
        vm.expectPartialRevert(ISignerRegistry.AttestationFailed.selector);
        tee.admitByZk(ALICE, rules, certificate, BLOCK, ISignerRegistry.ZkProof("", 1, ""));
    }

    function test_contractsThatDoNotAnswer() external {
        attestation.set(true, sgx());
        for (uint256 mood = 1; mood <= uint256(type(MockAttestation.Mood).max); ++mood) {
            attestation.setMood(MockAttestation.Mood(mood));
            vm.expectRevert();
            tee.admitOnChain(ALICE, rules, certificate, BLOCK, QUOTE);
        }
        rules.attestation = address(0xdead);
        vm.expectRevert();
        tee.admitOnChain(ALICE, rules, certificate, BLOCK, QUOTE);
        rules.attestation = address(0);
        vm.expectPartialRevert(ISignerRegistry.ModeNotInRules.selector);
        tee.admitOnChain(ALICE, rules, certificate, BLOCK, QUOTE);
        vm.expectPartialRevert(ISignerRegistry.ModeNotInRules.selector);
        tee.admitByZk(ALICE, rules, certificate, BLOCK, ISignerRegistry.ZkProof("", 1, ""));
    }

    function test_aSimulatedPlatform() external {
        bytes memory output = put(sgx(), 5, hex"ff53494d554c");
        refusedWith(output, ISignerRegistry.SimulatedEvidence.selector);
        vm.chainId(31_337);
        digestAndNonce = abi.encode(certificateDigest(), tee.nonceAt(BLOCK));
        check(tee.keyOf(admitWith(put(sgx(), 5, hex"ff53494d554c"))).simulated, "on a local chain");
    }

    // ---- checking again --------------------------------------------------------------------------------------------

    function test_aNewCheckEndsAKey() external {
        bytes32 record = admitWith(sgx());
        vm.expectRevert(ISignerRegistry.EvidenceStillGood.selector);
        tee.endByRecheck(ALICE, MODEL, rules, keyId, EPOCH, QUOTE);
        attestation.set(true, put(sgx(), 4, hex"04"));
        vm.expectPartialRevert(ISignerRegistry.EvidenceMismatch.selector);
        tee.endByRecheck(ALICE, MODEL, rules, keyId, EPOCH, "another quote");
        vm.prank(MALLORY);
        tee.endByRecheck(ALICE, MODEL, rules, keyId, EPOCH, QUOTE);
        checkEqual(tee.keyOf(record).notAfter, NOW - 1, "over");
        check(tee.keyOf(record).mode == ON_CHAIN && !tee.keyOf(record).revoked, "not revoked");
        // What passes again comes in again.
        admitWith(sgx());
    }

    function test_whatIsNotGenuineAnyMoreEnds() external {
        bytes32 record = admitWith(sgx());
        attestation.set(false, "TCB revoked");
        tee.endByRecheck(ALICE, MODEL, rules, keyId, EPOCH, QUOTE);
        checkEqual(tee.keyOf(record).notAfter, NOW - 1, "over");
        // Whatever it says besides: a no is a no.
        record = admitWith(sgx());
        attestation.set(false, sgx());
        tee.endByRecheck(ALICE, MODEL, rules, keyId, EPOCH, QUOTE);
        checkEqual(tee.keyOf(record).notAfter, NOW - 1, "over");
    }

    /// Whoever is asked cannot undo a revocation that it causes.
    function test_aRevocationDuringTheCheckStays() external {
        RevokingAttestation hostile = new RevokingAttestation();
        rules.attestation = address(hostile);
        hostile.set(true, sgx());
        bytes32 record = tee.admitOnChain(address(hostile), rules, certificate, BLOCK, QUOTE);
        hostile.revokeWhenAsked(tee, abi.encodeCall(tee.revoke, (MODEL, tee.rulesId(rules), keyId, EPOCH, ON_CHAIN)));
        tee.endByRecheck(address(hostile), MODEL, rules, keyId, EPOCH, QUOTE);
        check(tee.keyOf(record).revoked, "revoked");
    }

    function test_noCheckIsNoFailure() external {
        admitWith(sgx());
        attestation.set(false, "");
        vm.expectPartialRevert(ISignerRegistry.NotEnoughGas.selector);
        tee.endByRecheck{gas: 11_000_000}(ALICE, MODEL, rules, keyId, EPOCH, QUOTE);
        for (uint256 mood = 1; mood <= uint256(type(MockAttestation.Mood).max); ++mood) {
            attestation.setMood(MockAttestation.Mood(mood));
            vm.expectRevert();
            tee.endByRecheck(ALICE, MODEL, rules, keyId, EPOCH, QUOTE);
        }
    }

    function test_onlyWhatCameInThatWayIsCheckedAgain() external {
        admit();
        attestation.set(false, "");
        vm.expectPartialRevert(ISignerRegistry.KeyUnknown.selector);
        tee.endByRecheck(ALICE, MODEL, rules, keyId, EPOCH, QUOTE);
        // A revoked record that was never admitted has no evidence to check.
        bytes32 id = tee.rulesId(rules);
        vm.prank(ALICE);
        tee.revoke(MODEL, id, keyId, EPOCH, ON_CHAIN);
        vm.expectPartialRevert(ISignerRegistry.KeyUnknown.selector);
        tee.endByRecheck(ALICE, MODEL, rules, keyId, EPOCH, QUOTE);
    }
}
