// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC165, IERC165} from "@openzeppelin/contracts/utils/introspection/ERC165.sol";
import {ISignerRegistry} from "src/interfaces/ISignerRegistry.sol";
import {IVmlVerifier} from "src/interfaces/IVmlVerifier.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {KeyCertificate} from "src/tee/KeyCertificate.sol";
import {LocalChain} from "src/tee/LocalChain.sol";
import {Receipts} from "src/tee/Receipts.sol";
import {Signatures} from "src/tee/Signatures.sol";
import {SignerRegistry} from "src/tee/SignerRegistry.sol";

/// @title Claims that an attested key signed
/// @notice Proved is what a key signed that is admitted, as of now, for the claim's model under the rules that the
/// model's owner accepts. Whoever believes it trusts a hardware vendor, and the site where the machine stands: physical
/// adversary, not covered.
/// Metadata is abi.encode(address owner, bytes32 rules, uint256 modes, uint64 minimumEpoch): whose admissions count,
/// under which rules, in which modes (one bit each, 1 << mode), from which epoch on. A proof is described in Receipts.
contract TeeVerifier is IVmlVerifier, SignerRegistry, ERC165 {
    /// @notice What is known of a receipt that holds.
    struct Verdict {
        ISignerRegistry.Mode mode;
        bool simulated;
        uint64 notAfter;
        uint64 epoch;
        uint64 sequence;
        uint64 issuedAt;
        bytes32 keyId;
        bytes32 record;
        bytes32 evidence;
    }

    uint256 private constant METADATA_BYTES = 128;
    uint256 private constant MODES =
        1 << uint8(Mode.Quorum) | 1 << uint8(Mode.OnChain) | 1 << uint8(Mode.Zk) | 1 << uint8(Mode.Optimistic);

    /// @inheritdoc IVmlVerifier
    string public constant scheme = "tee/1";

    /// @notice Whether this chain had P-256 at 0x100 when this contract was made; otherwise it is computed here.
    bool public immutable hasP256Precompile;

    /// @notice The metadata is not the encoding of its four fields; whoever registered it has to do so again.
    error MetadataMalformed();
    /// @notice Nothing admits keys in this mode.
    error ModeUnsupported(uint256 mode);
    /// @notice The model's owner does not accept keys that came in this way.
    error ModeRefused(uint256 mode);
    /// @notice The receipt is of a time at which the key does not sign any more.
    error IssuedOutOfTime(uint64 issuedAt, uint64 notAfter);
    error NotProved();

    constructor() {
        hasP256Precompile = Signatures.hasPrecompile();
    }

    /// @inheritdoc IVmlVerifier
    /// @dev False where the signature is not the key's; everything else that is wrong has an error of its own.
    function verify(VmlClaim.Claim calldata claim, bytes calldata metadata, bytes calldata proof)
        external
        view
        returns (bool)
    {
        return _isProved(claim, metadata, proof);
    }

    /// @notice As verify, and says how the key came in. Reverts unless proved.
    function verdict(VmlClaim.Claim calldata claim, bytes calldata metadata, bytes calldata proof)
        external
        view
        returns (Verdict memory found)
    {
        if (!_isProved(claim, metadata, proof)) revert NotProved();
        found.record = _accepted(claim.model, metadata, proof);
        Key memory key = _unpack(_keys[found.record]);
        (found.mode, found.simulated, found.notAfter) = (key.mode, key.simulated, key.notAfter);
        (,, found.keyId) = Receipts.head(proof);
        (found.epoch, found.sequence, found.issuedAt) = Receipts.numbers(proof);
        found.evidence = evidenceOf[found.record];
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) public view override(ERC165, IERC165) returns (bool) {
        return interfaceId == type(IVmlVerifier).interfaceId || interfaceId == type(ISignerRegistry).interfaceId
            || super.supportsInterface(interfaceId);
    }

    function _isProved(VmlClaim.Claim calldata claim, bytes calldata metadata, bytes calldata proof)
        private
        view
        returns (bool)
    {
        bytes32 record = _accepted(claim.model, metadata, proof);
        uint256 key = _keys[record];
        _requireLive(record, key, proof);
        bool isP256 = uint8(key >> ALGORITHM) == KeyCertificate.P256;
        bytes32 hash = Receipts.signed(proof, Receipts.claimDigest(claim), isP256 ? 128 : 65);
        bytes calldata signature = Receipts.signature(proof);
        if (!isP256) return Signatures.recover(hash, signature) == address(uint160(key));
        (,, bytes32 keyId) = Receipts.head(proof);
        bytes32 x = bytes32(signature);
        bytes32 y = bytes32(signature[32:]);
        if (KeyCertificate.keyId(KeyCertificate.P256, x, y) != keyId) return false;
        return Signatures.isP256(hash, bytes32(signature[64:]), bytes32(signature[96:]), x, y, hasP256Precompile);
    }

    /// @dev The record that has to be there, where the model's owner accepts such at all.
    function _accepted(bytes32 model, bytes calldata metadata, bytes calldata proof)
        private
        view
        returns (bytes32 record)
    {
        if (metadata.length != METADATA_BYTES) revert MetadataMalformed();
        if (proof.length < Receipts.HEAD_BYTES) revert Receipts.NotCanonical();
        uint256 owner;
        bytes32 rules;
        uint256 modes;
        uint256 minimum;
        assembly ("memory-safe") {
            owner := calldataload(metadata.offset)
            rules := calldataload(add(metadata.offset, 0x20))
            modes := calldataload(add(metadata.offset, 0x40))
            minimum := calldataload(add(metadata.offset, 0x60))
        }
        if ((owner >> 160) | (modes & ~MODES) | (minimum >> 64) != 0) revert MetadataMalformed();
        (, uint256 mode, bytes32 keyId) = Receipts.head(proof);
        if (modes >> mode & 1 == 0) {
            if (MODES >> mode & 1 == 0) revert ModeUnsupported(mode);
            revert ModeRefused(mode);
        }
        bytes32 entry = _entryOf(address(uint160(owner)), model);
        uint256 raised = minimumEpochOf[entry];
        if (minimum < raised) minimum = raised;
        (uint64 epoch,,) = Receipts.numbers(proof);
        if (epoch < minimum) revert EpochRotated(uint64(minimum), epoch);
        return _recordOf(entry, rules, keyId, epoch, mode);
    }

    /// @dev A key that ended proves nothing more, whatever time it writes: who has it then can write any.
    function _requireLive(bytes32 record, uint256 key, bytes calldata proof) private view {
        uint256 notAfter = uint64(key >> NOT_AFTER);
        (,, uint64 issuedAt) = Receipts.numbers(proof);
        if (key & (REVOKED | SIMULATED) == 0 && block.timestamp <= notAfter && issuedAt <= notAfter) return;
        if (key & REVOKED != 0) revert KeyIsRevoked(record);
        if (key == 0) revert KeyUnknown(record);
        if (block.timestamp > notAfter) revert KeyIsExpired(record, uint64(notAfter));
        if (issuedAt > notAfter) revert IssuedOutOfTime(issuedAt, uint64(notAfter));
        if (!LocalChain.isHere()) revert SimulatedEvidence();
    }
}
