// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ITeeProposals} from "src/interfaces/ITeeProposals.sol";

/// @title Keys that were made inside enclaves and attested, each for one model and epoch
/// @notice A key is admitted once and then signs receipts that cost one recovery each to check. Who may admit what is
/// said by rules, which have their hash for an id: nobody can change them, and a model's owner accepts them by naming
/// that id in the metadata of a backend (TeeVerifier). So anybody may bring an admission, and only what is under rules
/// that an owner named counts for that owner.
interface ISignerRegistry {
    /// @notice How a key came in; every verdict says it.
    enum Mode {
        None,
        // k of n attestors checked the evidence off chain and signed that they did.
        Quorum,
        // A contract checked the quote, and this one what is in it.
        OnChain,
        // As OnChain, by a proof that the quote was checked.
        Zk,
        // Nobody disagreed with a bonded proposal, or it was then shown to be good: see ITeeProposals.
        Optimistic
    }

    /// @notice Under which conditions keys come in.
    struct Rules {
        // The appraisal policy that key certificates have to name.
        bytes32 policy;
        // Seconds from an admission to the key's end, at most.
        uint32 lifetime;
        // Quorum: how many of the attestors (ascending) have to sign. Zero: not by quorum.
        uint8 threshold;
        address[] attestors;
        // OnChain and Zk: whom to ask. Zero: neither.
        address attestation;
        // One bit a TCB status of that contract, 1 << status.
        uint16 tcbStatuses;
        // One bit a body type: 1 << 1 SGX, 1 << 2 TD report 1.0, 1 << 3 TD report 1.5.
        uint8 bodyTypes;
        // SGX: MRENCLAVE. TDX: keccak256(MRTD || RTMR0 || RTMR1 || RTMR2 || RTMR3).
        bytes32[] measurements;
        // Optimistic: keccak256(abi.encode(ITeeProposals.Terms)). Zero: not optimistically.
        bytes32 terms;
    }

    /// @notice What a key is for. Evidence carries the digest (KeyCertificate).
    struct Certificate {
        // 1: ECDSA over secp256k1, 2: ECDSA over P-256.
        uint8 algorithm;
        // The public key.
        bytes32 x;
        bytes32 y;
        bytes32 model;
        bytes32 policy;
        uint64 epoch;
        uint64 notAfter;
        // Digest of the GPUs' evidence; zero where no GPU takes part.
        bytes32 gpus;
    }

    /// @notice What attestors found, as far as the certificate does not say it.
    struct Finding {
        // vml's evidence id.
        bytes32 evidence;
        // The last second at which all that the evidence rests on is valid.
        uint64 collateralEnd;
        // The evidence is a simulator's.
        bool simulated;
        // The last second at which the signatures are of use.
        uint64 deadline;
    }

    /// @notice See IDcapAttestation.
    struct ZkProof {
        bytes journal;
        uint8 coprocessor;
        bytes proof;
    }

    /// @notice An admitted key, in one slot.
    struct Key {
        // Of a secp256k1 key the address; zero for P-256.
        address signer;
        uint64 notAfter;
        Mode mode;
        uint8 algorithm;
        bool simulated;
        bool revoked;
    }

    event KeyAdmitted(
        bytes32 indexed record,
        bytes32 indexed keyId,
        bytes32 indexed entry,
        Mode mode,
        Certificate certificate,
        bytes32 rules,
        bytes32 evidence,
        uint64 notAfter,
        bool simulated
    );
    event KeyRevoked(bytes32 indexed record, address indexed by);
    /// @notice A new check of the evidence failed. The key may be admitted again.
    event KeyEnded(bytes32 indexed record, address indexed by);
    event EpochRaised(bytes32 indexed entry, uint64 minimumEpoch);

    error AlgorithmUnknown(uint8 algorithm);
    /// @notice Evidence of GPUs is signed over P-384: attestors check it, and no contract does.
    error GpusNotChecked(Mode mode);
    error PolicyMismatch(bytes32 expected, bytes32 got);
    error KeyUnknown(bytes32 record);
    error KeyIsRevoked(bytes32 record);
    error KeyIsExpired(bytes32 record, uint64 notAfter);
    /// @notice A renewal has to prolong.
    error NotLater(uint64 current, uint64 proposed);
    error EpochRotated(uint64 minimum, uint64 epoch);
    error EpochNotRaised(uint64 minimum, uint64 epoch);
    /// @notice Simulated evidence counts on local chains only (1337 and 31337).
    error SimulatedEvidence();
    /// @notice These rules do not admit keys in this mode.
    error ModeNotInRules(Mode mode);
    error AdmissionIsExpired(uint64 deadline);
    /// @notice Not exactly as many signatures as the threshold, 65 bytes each.
    error SignaturesLength(uint256 expected, uint256 got);
    error SignatureInvalid(uint256 index);
    error SignersNotAscending(address previous, address signer);
    error NotAnAttestor(address signer);
    error AttestationFailed(bytes reason);
    /// @notice The block is none of the last 256.
    error BlockUnknown(uint256 number);
    error EvidenceMismatch(bytes32 expected, bytes32 got);
    error NotEnoughGas(uint256 needed, uint256 given);
    error EvidenceStillGood();
    /// @notice Only `proposals` brings keys in mode Optimistic.
    error NotProposals(address caller);

    /// @notice Admits or renews a key on the word of attestors.
    /// @param owner of the model's entry for whom the key is admitted
    /// @param signatures of Admission(address owner,bytes32 rules,bytes32 certificate,bytes32 evidence,
    /// uint64 collateralEnd,bool simulated,uint64 deadline): exactly `rules.threshold`, each r || s || v, signers ascending
    /// @return record what names the key here
    function admitByQuorum(
        address owner,
        Rules calldata rules,
        Certificate calldata certificate,
        Finding calldata finding,
        bytes calldata signatures
    ) external returns (bytes32 record);

    /// @notice Admits or renews a key whose quote is checked now.
    /// @param blockNumber report_data[32:64] has to be nonceAt of it
    function admitOnChain(
        address owner,
        Rules calldata rules,
        Certificate calldata certificate,
        uint256 blockNumber,
        bytes calldata quote
    ) external returns (bytes32 record);

    /// @notice Admits or renews a key by a proof that its quote was checked.
    function admitByZk(
        address owner,
        Rules calldata rules,
        Certificate calldata certificate,
        uint256 blockNumber,
        ZkProof calldata proof
    ) external returns (bytes32 record);

    /// @notice Admits or renews a key whose proposal was accepted. Called by `proposals` only.
    /// @param evidence keccak256 of the published bytes
    /// @param proposedAt the rules' lifetime begins here
    function admitProposed(
        address owner,
        Rules calldata rules,
        Certificate calldata certificate,
        bytes32 evidence,
        uint64 collateralEnd,
        uint64 proposedAt,
        bool simulated
    ) external returns (bytes32 record);

    /// @notice The caller, as owner, never believes this key again, also before it is admitted.
    function revoke(bytes32 model, bytes32 rules, bytes32 keyId, uint64 epoch, Mode mode) external;

    /// @notice Revokes by signatures of Revocation(bytes32 record), from as many attestors as admit.
    function revokeByQuorum(
        address owner,
        bytes32 model,
        Rules calldata rules,
        bytes32 keyId,
        uint64 epoch,
        Mode mode,
        bytes calldata signatures
    ) external;

    /// @notice Ends a key of mode OnChain whose quote is refused now. Anybody.
    /// @param quote the very bytes that were admitted
    function endByRecheck(
        address owner,
        bytes32 model,
        Rules calldata rules,
        bytes32 keyId,
        uint64 epoch,
        bytes calldata quote
    ) external;

    /// @notice The caller's keys for this model of an epoch below are dead, and none such is admitted again.
    function raiseEpoch(bytes32 model, uint64 minimumEpoch) external;

    /// @notice The contract that keeps proposals and their bonds, made with this one.
    function proposals() external view returns (ITeeProposals);
    /// @param entry keccak256(abi.encode(owner, model)), as in IModelRegistry
    function minimumEpochOf(bytes32 entry) external view returns (uint64);
    /// @return key all zero where nothing is known
    function keyOf(bytes32 record) external view returns (Key memory key);
    /// @return evidence vml's evidence id (Quorum), keccak256 of the quote (OnChain), of the output (Zk), or of the
    /// published bytes (Optimistic). It says on what the key rests and takes nothing: evidence may come again.
    function evidenceOf(bytes32 record) external view returns (bytes32 evidence);
    function recordOf(bytes32 entry, bytes32 rules, bytes32 keyId, uint64 epoch, Mode mode)
        external
        pure
        returns (bytes32 record);
    /// @notice keccak256(abi.encode(rules)).
    function rulesId(Rules calldata rules) external pure returns (bytes32);
    /// @notice What a quote has to carry so that it is admitted: nobody knew it before that block.
    function nonceAt(uint256 blockNumber) external view returns (bytes32 nonce);
    /// @notice The digest that attestors sign.
    function admissionDigest(
        address owner,
        Rules calldata rules,
        Certificate calldata certificate,
        Finding calldata finding
    ) external view returns (bytes32);
    function revocationDigest(bytes32 record) external view returns (bytes32);
}
