// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IDcapAttestation} from "src/interfaces/IDcapAttestation.sol";
import {ISignerRegistry} from "src/interfaces/ISignerRegistry.sol";
import {ITeeProposals} from "src/interfaces/ITeeProposals.sol";
import {DcapOutput} from "src/tee/DcapOutput.sol";
import {KeyCertificate} from "src/tee/KeyCertificate.sol";
import {LocalChain} from "src/tee/LocalChain.sol";
import {Quorum} from "src/tee/Quorum.sol";
import {TeeProposals} from "src/tee/TeeProposals.sol";

/// @title Attested keys, how each came in, and when it ends
/// @notice See ISignerRegistry. Nobody governs this contract: an owner's word counts for the owner's own entries, rules
/// are in the hash that names them, and a key's record is of one owner, model, rules, key, epoch and mode. What can be
/// added to a record is a later end; what was revoked stays so.
/// Abstract because TeeVerifier is it: a receipt is then checked without a call to another contract.
abstract contract SignerRegistry is ISignerRegistry, EIP712 {
    // Where the fields of a packed key begin; the signer is in the lowest 160 bits.
    uint256 internal constant NOT_AFTER = 160;
    uint256 internal constant MODE = 224;
    uint256 internal constant ALGORITHM = 232;
    uint256 internal constant SIMULATED = 1 << 240;
    uint256 internal constant REVOKED = 1 << 248;

    bytes32 private constant ADMISSION_TYPE_HASH = keccak256(
        "Admission(address owner,bytes32 rules,bytes32 certificate,bytes32 evidence,uint64 collateralEnd,bool simulated,uint64 deadline)"
    );
    bytes32 private constant REVOCATION_TYPE_HASH = keccak256("Revocation(bytes32 record)");
    /// @dev More than the dearest check of a quote takes (6.35 million, SGX without a precompile for P-256): a check that
    /// was starved of gas must not look like one that failed.
    uint256 private constant RECHECK_GAS = 12_000_000;

    /// @inheritdoc ISignerRegistry
    ITeeProposals public immutable proposals;

    /// @inheritdoc ISignerRegistry
    mapping(bytes32 entry => uint64) public minimumEpochOf;
    /// @inheritdoc ISignerRegistry
    mapping(bytes32 record => bytes32) public evidenceOf;
    /// @dev A Key in one word: see _pack.
    mapping(bytes32 record => uint256) internal _keys;

    constructor() EIP712("vml", "1") {
        proposals = new TeeProposals(this);
    }

    // ---- admission -------------------------------------------------------------------------------------------------

    /// @inheritdoc ISignerRegistry
    function admitByQuorum(
        address owner,
        Rules calldata rules,
        Certificate calldata certificate,
        Finding calldata finding,
        bytes calldata signatures
    ) external returns (bytes32 record) {
        if (block.timestamp > finding.deadline) revert AdmissionIsExpired(finding.deadline);
        bytes32 id = _rulesId(rules);
        Quorum.check(rules, _admissionDigest(owner, id, KeyCertificate.digest(certificate), finding), signatures);
        Finding memory found = finding;
        return _admit(owner, rules, certificate, id, Mode.Quorum, found);
    }

    /// @inheritdoc ISignerRegistry
    function admitOnChain(
        address owner,
        Rules calldata rules,
        Certificate calldata certificate,
        uint256 blockNumber,
        bytes calldata quote
    ) external returns (bytes32 record) {
        if (rules.attestation == address(0)) revert ModeNotInRules(Mode.OnChain);
        (bool success, bytes memory output) = IDcapAttestation(rules.attestation).verifyAndAttestOnChain(quote);
        if (!success) revert AttestationFailed(output);
        Finding memory found = _examine(output, rules, certificate, blockNumber, Mode.OnChain);
        found.evidence = keccak256(quote);
        return _admit(owner, rules, certificate, _rulesId(rules), Mode.OnChain, found);
    }

    /// @inheritdoc ISignerRegistry
    function admitByZk(
        address owner,
        Rules calldata rules,
        Certificate calldata certificate,
        uint256 blockNumber,
        ZkProof calldata proof
    ) external returns (bytes32 record) {
        if (rules.attestation == address(0)) revert ModeNotInRules(Mode.Zk);
        (bool success, bytes memory output) = IDcapAttestation(rules.attestation)
            .verifyAndAttestWithZKProof(proof.journal, proof.coprocessor, proof.proof);
        if (!success) revert AttestationFailed(output);
        Finding memory found = _examine(output, rules, certificate, blockNumber, Mode.Zk);
        found.evidence = keccak256(output);
        return _admit(owner, rules, certificate, _rulesId(rules), Mode.Zk, found);
    }

    /// @inheritdoc ISignerRegistry
    /// @dev The lifetime runs from the proposal: that is how fresh the evidence is.
    function admitProposed(
        address owner,
        Rules calldata rules,
        Certificate calldata certificate,
        bytes32 evidence,
        uint64 collateralEnd,
        uint64 proposedAt,
        bool simulated
    ) external returns (bytes32 record) {
        if (msg.sender != address(proposals)) revert NotProposals(msg.sender);
        uint256 latest = uint256(proposedAt) + rules.lifetime;
        Finding memory found = Finding(evidence, latest < collateralEnd ? uint64(latest) : collateralEnd, simulated, 0);
        return _admit(owner, rules, certificate, _rulesId(rules), Mode.Optimistic, found);
    }

    // ---- the end of a key ------------------------------------------------------------------------------------------

    /// @inheritdoc ISignerRegistry
    function revoke(bytes32 model, bytes32 rules, bytes32 keyId, uint64 epoch, Mode mode) external {
        _revoke(recordOf(_entryOf(msg.sender, model), rules, keyId, epoch, mode));
    }

    /// @inheritdoc ISignerRegistry
    function revokeByQuorum(
        address owner,
        bytes32 model,
        Rules calldata rules,
        bytes32 keyId,
        uint64 epoch,
        Mode mode,
        bytes calldata signatures
    ) external {
        bytes32 record = recordOf(_entryOf(owner, model), _rulesId(rules), keyId, epoch, mode);
        Quorum.check(rules, revocationDigest(record), signatures);
        _revoke(record);
    }

    /// @inheritdoc ISignerRegistry
    /// @dev A revert of the attestation contract ends nothing: it says as little of the quote as want of gas does.
    function endByRecheck(
        address owner,
        bytes32 model,
        Rules calldata rules,
        bytes32 keyId,
        uint64 epoch,
        bytes calldata quote
    ) external {
        bytes32 record = recordOf(_entryOf(owner, model), _rulesId(rules), keyId, epoch, Mode.OnChain);
        bytes32 evidence = keccak256(quote);
        if (evidenceOf[record] == 0) revert KeyUnknown(record);
        if (evidence != evidenceOf[record]) revert EvidenceMismatch(evidenceOf[record], evidence);
        if (gasleft() < RECHECK_GAS) revert NotEnoughGas(RECHECK_GAS, gasleft());
        (bool success, bytes memory output) = IDcapAttestation(rules.attestation).verifyAndAttestOnChain(quote);
        if (success && DcapOutput.isStillGood(output, rules)) revert EvidenceStillGood();
        // Read now: whoever was asked may have had the key revoked meanwhile.
        Key memory key = _unpack(_keys[record]);
        key.notAfter = uint64(block.timestamp - 1);
        _keys[record] = _pack(key);
        emit KeyEnded(record, msg.sender);
    }

    /// @inheritdoc ISignerRegistry
    function raiseEpoch(bytes32 model, uint64 minimumEpoch) external {
        bytes32 entry = _entryOf(msg.sender, model);
        uint64 current = minimumEpochOf[entry];
        if (minimumEpoch <= current) revert EpochNotRaised(current, minimumEpoch);
        minimumEpochOf[entry] = minimumEpoch;
        emit EpochRaised(entry, minimumEpoch);
    }

    // ---- views -----------------------------------------------------------------------------------------------------

    /// @inheritdoc ISignerRegistry
    function keyOf(bytes32 record) external view returns (Key memory key) {
        return _unpack(_keys[record]);
    }

    /// @inheritdoc ISignerRegistry
    function recordOf(bytes32 entry, bytes32 rules, bytes32 keyId, uint64 epoch, Mode mode)
        public
        pure
        returns (bytes32 record)
    {
        return _recordOf(entry, rules, keyId, epoch, uint256(mode));
    }

    /// @inheritdoc ISignerRegistry
    function rulesId(Rules calldata rules) external pure returns (bytes32) {
        return _rulesId(rules);
    }

    /// @inheritdoc ISignerRegistry
    function nonceAt(uint256 blockNumber) public view returns (bytes32 nonce) {
        bytes32 hash = blockhash(blockNumber);
        if (hash == 0) revert BlockUnknown(blockNumber);
        return keccak256(abi.encode(block.chainid, address(this), hash));
    }

    /// @inheritdoc ISignerRegistry
    function admissionDigest(
        address owner,
        Rules calldata rules,
        Certificate calldata certificate,
        Finding calldata finding
    ) external view returns (bytes32) {
        return _admissionDigest(owner, _rulesId(rules), KeyCertificate.digest(certificate), finding);
    }

    /// @inheritdoc ISignerRegistry
    function revocationDigest(bytes32 record) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(REVOCATION_TYPE_HASH, record)));
    }

    // ---- within ----------------------------------------------------------------------------------------------------

    /// @dev What an attestation contract does not look at. It does not say either when the collateral ends: the rules'
    /// lifetime has to.
    function _examine(
        bytes memory output,
        Rules calldata rules,
        Certificate calldata certificate,
        uint256 blockNumber,
        Mode mode
    ) private view returns (Finding memory found) {
        if (certificate.gpus != 0) revert GpusNotChecked(mode);
        bytes32 digest = KeyCertificate.digest(certificate);
        found.simulated = DcapOutput.check(output, rules, digest, nonceAt(blockNumber));
        found.collateralEnd = type(uint64).max;
    }

    /// @dev What every mode has in common. The certificate was compared with the evidence by whoever calls.
    function _admit(
        address owner,
        Rules calldata rules,
        Certificate calldata certificate,
        bytes32 id,
        Mode mode,
        Finding memory found
    ) private returns (bytes32 record) {
        if (certificate.policy != rules.policy) revert PolicyMismatch(rules.policy, certificate.policy);
        if (found.simulated && !LocalChain.isHere()) revert SimulatedEvidence();
        bytes32 entry = _entryOf(owner, certificate.model);
        uint64 minimum = minimumEpochOf[entry];
        if (certificate.epoch < minimum) revert EpochRotated(minimum, certificate.epoch);
        bytes32 keyId = KeyCertificate.keyId(certificate.algorithm, certificate.x, certificate.y);
        record = recordOf(entry, id, keyId, certificate.epoch, mode);
        uint64 notAfter = _prolong(record, rules, certificate, mode, found);
        evidenceOf[record] = found.evidence;
        emit KeyAdmitted(record, keyId, entry, mode, certificate, id, found.evidence, notAfter, found.simulated);
    }

    /// @dev The key ends with its certificate, with what the evidence rests on, or with the rules' lifetime.
    function _prolong(
        bytes32 record,
        Rules calldata rules,
        Certificate calldata certificate,
        Mode mode,
        Finding memory found
    ) private returns (uint64 notAfter) {
        notAfter = certificate.notAfter < found.collateralEnd ? certificate.notAfter : found.collateralEnd;
        uint256 latest = block.timestamp + rules.lifetime;
        if (latest < notAfter) notAfter = uint64(latest);
        if (notAfter < block.timestamp) revert KeyIsExpired(record, notAfter);
        Key memory key = _unpack(_keys[record]);
        if (key.revoked) revert KeyIsRevoked(record);
        if (notAfter <= key.notAfter) revert NotLater(key.notAfter, notAfter);
        address signer = address(0);
        if (certificate.algorithm == KeyCertificate.SECP256K1) {
            signer = KeyCertificate.signer(certificate.x, certificate.y);
        }
        _keys[record] = _pack(
            Key({
                signer: signer,
                notAfter: notAfter,
                mode: mode,
                algorithm: certificate.algorithm,
                simulated: found.simulated,
                revoked: false
            })
        );
    }

    function _revoke(bytes32 record) private {
        uint256 key = _keys[record];
        if (key & REVOKED != 0) revert KeyIsRevoked(record);
        _keys[record] = key | REVOKED;
        emit KeyRevoked(record, msg.sender);
    }

    function _admissionDigest(address owner, bytes32 id, bytes32 certificate, Finding calldata finding)
        private
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(
            keccak256(
                abi.encode(
                    ADMISSION_TYPE_HASH,
                    owner,
                    id,
                    certificate,
                    finding.evidence,
                    finding.collateralEnd,
                    finding.simulated,
                    finding.deadline
                )
            )
        );
    }

    function _rulesId(Rules calldata rules) private pure returns (bytes32) {
        return keccak256(abi.encode(rules));
    }

    function _pack(Key memory key) private pure returns (uint256 packed) {
        packed = uint256(uint160(key.signer)) | uint256(key.notAfter) << NOT_AFTER;
        packed |= uint256(uint8(key.mode)) << MODE | uint256(key.algorithm) << ALGORITHM;
        if (key.simulated) packed |= SIMULATED;
        if (key.revoked) packed |= REVOKED;
    }

    function _unpack(uint256 packed) internal pure returns (Key memory key) {
        return Key({
            signer: address(uint160(packed)),
            notAfter: uint64(packed >> NOT_AFTER),
            mode: Mode(uint8(packed >> MODE)),
            algorithm: uint8(packed >> ALGORITHM),
            simulated: packed & SIMULATED != 0,
            revoked: packed & REVOKED != 0
        });
    }

    /// @dev keccak256(abi.encode(owner, model)), in the scratch space.
    function _entryOf(address owner, bytes32 model) internal pure returns (bytes32 entry) {
        assembly ("memory-safe") {
            mstore(0, owner)
            mstore(0x20, model)
            entry := keccak256(0, 0x40)
        }
    }

    /// @dev keccak256(abi.encode(entry, rules, keyId, epoch, mode)), past the free memory pointer.
    function _recordOf(bytes32 entry, bytes32 rules, bytes32 keyId, uint256 epoch, uint256 mode)
        internal
        pure
        returns (bytes32 record)
    {
        assembly ("memory-safe") {
            let buffer := mload(0x40)
            mstore(buffer, entry)
            mstore(add(buffer, 0x20), rules)
            mstore(add(buffer, 0x40), keyId)
            mstore(add(buffer, 0x60), epoch)
            mstore(add(buffer, 0x80), mode)
            record := keccak256(buffer, 0xa0)
        }
    }
}
