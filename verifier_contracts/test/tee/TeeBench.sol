// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ISignerRegistry} from "src/interfaces/ISignerRegistry.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {VmlCommitment} from "src/libraries/VmlCommitment.sol";
import {KeyCertificate} from "src/tee/KeyCertificate.sol";
import {Receipts} from "src/tee/Receipts.sol";
import {TeeVerifier} from "src/tee/TeeVerifier.sol";
import {RouterBench} from "test/RouterBench.sol";
import {MockAttestation} from "test/tee/MockAttestation.sol";
import {Vm} from "test/Vm.sol";

/// @title A router with tee/1, rules of five attestors and one attestation contract, and a key of each algorithm
abstract contract TeeBench is RouterBench {
    bytes32 internal constant POLICY = keccak256("policy");
    bytes32 internal constant MEASUREMENT = keccak256("measurement");
    uint256 internal constant NOW = 1_800_000_000;
    uint64 internal constant EPOCH = 3;
    uint256 internal constant ENCLAVE = uint256(keccak256("a key made inside"));
    uint256 internal constant ENCLAVE_P256 = uint256(keccak256("a key of P-256")) >> 1;
    ISignerRegistry.Mode internal constant QUORUM = ISignerRegistry.Mode.Quorum;
    ISignerRegistry.Mode internal constant ON_CHAIN = ISignerRegistry.Mode.OnChain;
    uint256 internal constant ALL_MODES = 0xe;
    uint256 internal constant N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    TeeVerifier internal tee;
    bytes4 internal teeSelector;
    MockAttestation internal attestation;
    uint256[5] internal attestors;
    ISignerRegistry.Rules internal rules;
    ISignerRegistry.Certificate internal certificate;
    ISignerRegistry.Certificate internal certificateP256;
    ISignerRegistry.Finding internal finding;
    bytes32 internal keyId;
    bytes32 internal keyIdP256;

    function setUp() public virtual override {
        super.setUp();
        vm.warp(NOW);
        vm.roll(1000);
        vm.chainId(1);
        tee = new TeeVerifier();
        attestation = new MockAttestation();
        vm.prank(OWNER);
        teeSelector = router.addRoute(tee);
        _makeRules();
        Vm.Wallet memory wallet = vm.createWallet(ENCLAVE);
        certificate = ISignerRegistry.Certificate({
            algorithm: 1,
            x: bytes32(wallet.publicKeyX),
            y: bytes32(wallet.publicKeyY),
            model: MODEL,
            policy: POLICY,
            epoch: EPOCH,
            notAfter: uint64(NOW + 20 days),
            gpus: 0
        });
        keyId = KeyCertificate.keyId(1, certificate.x, certificate.y);
        (uint256 x, uint256 y) = vm.publicKeyP256(ENCLAVE_P256);
        certificateP256 = certificate;
        (certificateP256.algorithm, certificateP256.x, certificateP256.y) = (2, bytes32(x), bytes32(y));
        keyIdP256 = KeyCertificate.keyId(2, bytes32(x), bytes32(y));
        finding = ISignerRegistry.Finding({
            evidence: keccak256("evidence"),
            collateralEnd: uint64(NOW + 29 days),
            simulated: false,
            deadline: uint64(NOW + 1 hours)
        });
        enable(ALICE, key, teeSelector, metadata(ALL_MODES, 0));
    }

    /// @dev Attestors by ascending address.
    function _makeRules() private {
        for (uint256 i = 0; i < 5; ++i) {
            uint256 next = uint256(keccak256(abi.encode("attestor", i)));
            uint256 at = i;
            while (at > 0 && vm.addr(attestors[at - 1]) > vm.addr(next)) {
                attestors[at] = attestors[at - 1];
                --at;
            }
            attestors[at] = next;
        }
        rules.policy = POLICY;
        rules.lifetime = 30 days;
        rules.threshold = 3;
        for (uint256 i = 0; i < 5; ++i) {
            rules.attestors.push(vm.addr(attestors[i]));
        }
        rules.attestation = address(attestation);
        rules.tcbStatuses = 1;
        rules.bodyTypes = 0xe;
        rules.measurements.push(MEASUREMENT);
    }

    // ---- admission -------------------------------------------------------------------------------------------------

    function signedBy(uint256 privateKey, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(privateKey, digest);
        return abi.encodePacked(r, s, v);
    }

    function signedBy(uint256[3] memory which, bytes32 digest) internal view returns (bytes memory all) {
        for (uint256 i = 0; i < 3; ++i) {
            all = bytes.concat(all, signedBy(attestors[which[i]], digest));
        }
    }

    function admissionDigest() internal view returns (bytes32) {
        return tee.admissionDigest(ALICE, rules, certificate, finding);
    }

    function quorum() internal view returns (bytes memory) {
        return signedBy([uint256(0), 2, 4], admissionDigest());
    }

    function admit() internal returns (bytes32 record) {
        return tee.admitByQuorum(ALICE, rules, certificate, finding, quorum());
    }

    function admitP256() internal returns (bytes32 record) {
        bytes32 digest = tee.admissionDigest(ALICE, rules, certificateP256, finding);
        return tee.admitByQuorum(ALICE, rules, certificateP256, finding, signedBy([uint256(1), 2, 3], digest));
    }

    function recordIn(ISignerRegistry.Mode mode) internal view returns (bytes32) {
        return tee.recordOf(key, tee.rulesId(rules), keyId, EPOCH, mode);
    }

    /// @dev Refused with this error, whatever its arguments.
    function admissionRefused(bytes memory signatures, bytes4 why) internal {
        vm.expectPartialRevert(why);
        tee.admitByQuorum(ALICE, rules, certificate, finding, signatures);
    }

    // ---- receipts --------------------------------------------------------------------------------------------------

    function metadata(uint256 modes, uint64 minimumEpoch) internal view returns (bytes memory) {
        return abi.encode(ALICE, tee.rulesId(rules), modes, minimumEpoch);
    }

    function head(uint8 form, ISignerRegistry.Mode mode, bytes32 id, uint64 sequence)
        internal
        view
        returns (bytes memory)
    {
        return abi.encodePacked(form, uint8(mode), id, EPOCH, sequence, uint64(block.timestamp));
    }

    function digestOf(VmlClaim.Claim memory claim, bytes32 id, uint64 sequence) internal view returns (bytes32) {
        return Receipts.digest(VmlClaim.digest(claim), id, EPOCH, sequence, uint64(block.timestamp));
    }

    /// @dev Without the router's selector.
    function receipt(VmlClaim.Claim memory claim, uint64 sequence) internal view returns (bytes memory) {
        return bytes.concat(head(1, QUORUM, keyId, sequence), signedBy(ENCLAVE, digestOf(claim, keyId, sequence)));
    }

    function receiptOf(VmlClaim.Claim memory claim, uint64 epoch) internal view returns (bytes memory) {
        uint64 at = uint64(block.timestamp);
        bytes32 digest = Receipts.digest(VmlClaim.digest(claim), keyId, epoch, 1, at);
        return abi.encodePacked(uint8(1), uint8(QUORUM), keyId, epoch, uint64(1), at, signedBy(ENCLAVE, digest));
    }

    function receiptP256(VmlClaim.Claim memory claim, uint64 sequence) internal view returns (bytes memory) {
        bytes memory signature = signedByP256(digestOf(claim, keyIdP256, sequence));
        return bytes.concat(head(1, QUORUM, keyIdP256, sequence), certificateP256.x, certificateP256.y, signature);
    }

    function signedByP256(bytes32 digest) internal pure returns (bytes memory) {
        (bytes32 r, bytes32 s) = vm.signP256(ENCLAVE_P256, digest);
        uint256 order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551;
        if (uint256(s) > order / 2) s = bytes32(order - uint256(s));
        return abi.encodePacked(r, s);
    }

    /// @dev A batch of `count` receipts, of which the one at `index` is of this claim, with its number for a sequence.
    function batched(VmlClaim.Claim memory claim, uint32 count, uint32 index) internal view returns (bytes memory) {
        bytes32[] memory level = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            level[i] = i == index ? digestOf(claim, keyId, index) : keccak256(abi.encode(i));
        }
        bytes memory path;
        bytes32 empty = 0;
        uint256 at = index;
        while (level.length > 1) {
            path = bytes.concat(path, at ^ 1 < level.length ? level[at ^ 1] : empty);
            bytes32[] memory above = new bytes32[]((level.length + 1) / 2);
            for (uint256 i = 0; i < above.length; ++i) {
                bytes32 right = 2 * i + 1 < level.length ? level[2 * i + 1] : empty;
                above[i] = VmlCommitment.node(level[2 * i], right);
            }
            (level, empty, at) = (above, VmlCommitment.node(empty, empty), at / 2);
        }
        bytes memory signature = signedBy(ENCLAVE, Receipts.batchDigest(keyId, EPOCH, count, level[0]));
        return bytes.concat(head(2, QUORUM, keyId, index), signature, abi.encodePacked(count, index), path);
    }

    function withSelector(bytes memory proof) internal view returns (bytes memory) {
        return bytes.concat(teeSelector, proof);
    }

    function proves(VmlClaim.Claim memory claim, bytes memory proof) internal view returns (bool) {
        return tee.verify(claim, metadata(ALL_MODES, 0), proof);
    }

    /// @dev Refused with this error, and through the router.
    function receiptRefused(VmlClaim.Claim memory claim, bytes memory proof, bytes4 why) internal {
        bytes memory registered = metadata(ALL_MODES, 0);
        vm.expectPartialRevert(why);
        tee.verify(claim, registered, proof);
        check(!accepted(key, claim, withSelector(proof)), "nor through the router");
    }

    function s2(bytes memory signature) internal pure returns (bytes memory other) {
        (bytes32 r, bytes32 s) = abi.decode(signature, (bytes32, bytes32));
        uint8 v = uint8(signature[64]);
        return abi.encodePacked(r, bytes32(N - uint256(s)), v == 27 ? uint8(28) : uint8(27));
    }
}
