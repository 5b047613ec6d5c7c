// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC165, IERC165} from "@openzeppelin/contracts/utils/introspection/ERC165.sol";
import {IVmlVerifier} from "src/interfaces/IVmlVerifier.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {EzklInstances} from "src/zk/EzklInstances.sol";
import {IEzklReusableVerifier, IEzklVerifier} from "src/zk/IEzklVerifiers.sol";

/// @title Claims proved with ezkl 23.0.5, for one scheme
/// @notice Ties a proof's public words to all four fields of the claim (docs/claim-ezkl.md), then asks the verifier
/// that ezkl generated. A proof is abi.encode(bytes proof, uint256[] instances), in that encoding and no other.
/// What belongs to a model is its metadata: abi.encode(EzklAdapter.Metadata), made by vml/chain/ezkl_adapter.py.
contract EzklAdapter is IVmlVerifier, ERC165 {
    /// @notice A model under this scheme, as its owner registers it.
    struct Metadata {
        // The claim's model: the identity that binds circuit, weights, settings and set-up.
        bytes32 model;
        // The generated verifier, and the hash of its code.
        address verifier;
        bytes32 codeHash;
        // With the verifier for all circuits: a contract whose code is one zero byte and the VKA, and the VKA's digest.
        // Both zero with the verifier for one circuit.
        address vka;
        bytes32 vkaDigest;
        // Poseidon digest of the weights where the model is private, else zero.
        bytes32 parameterDigest;
        // Length of the proof in bytes. ezkl's verifier for all circuits would accept more behind it.
        uint32 proofBytes;
        // Public words that are the model's input (values, or one digest a tensor) and output, without the context.
        uint32 inputWords;
        uint32 outputWords;
        // What stands before the words in the preimages of claim.input and claim.output.
        bytes inputHeader;
        bytes outputHeader;
    }

    uint256 private constant HEAD_BYTES = 11 * 32;
    uint256 private constant WORD = 32;

    error SchemeUnknown(string scheme);
    /// @notice The metadata is not an encoding of `Metadata`; whoever registered it has to do so again.
    error MetadataMalformed();
    /// @notice The proof is not the canonical encoding of a proof and instances of this model's lengths.
    error NotCanonical();
    error ModelMismatch(bytes32 registered, bytes32 claimed);
    error InputMismatch(bytes32 proved, bytes32 claimed);
    error OutputMismatch(bytes32 proved, bytes32 claimed);
    /// @notice The proof is bound to another context than the claim.
    error ContextMismatch(bytes32 claimed);
    /// @notice The weights behind the proof are not those of the model.
    error ParametersMismatch();
    /// @notice An instance is no element of the scalar field, or no integer of the claim's format.
    error InstanceOutOfRange();
    /// @notice The code of the generated verifier is not what was registered.
    error VerifierChanged(address verifier, bytes32 registered, bytes32 found);
    /// @notice There is no VKA where the metadata says.
    error VkaMissing(address vka);
    /// @notice The generated verifier spoke of another circuit.
    error VkaMismatch(bytes32 registered, bytes32 found);

    /// @inheritdoc IVmlVerifier
    string public scheme;
    /// @notice Whether the input's values are instances; otherwise their digests are.
    bool public immutable inputIsPublic;
    /// @notice Whether a digest of the weights is an instance.
    bool public immutable modelIsPrivate;

    /// @param scheme_ one of the six schemes of ezkl 23.0.5; it decides which instances there are
    constructor(string memory scheme_) {
        string[3] memory inputs = ["public", "hashed", "private"];
        for (uint256 i = 0; i < 6; ++i) {
            string memory model = i % 2 == 0 ? "public" : "private";
            string memory known = string.concat("ezkl/23.0.5/kzg-bn254/input-", inputs[i / 2], "/model-", model);
            if (keccak256(bytes(known)) != keccak256(bytes(scheme_))) continue;
            scheme = scheme_;
            inputIsPublic = i / 2 == 0;
            modelIsPrivate = i % 2 == 1;
            return;
        }
        revert SchemeUnknown(scheme_);
    }

    /// @inheritdoc IVmlVerifier
    /// @dev False where the generated verifier refuses; everything else that is wrong has an error of its own.
    function verify(VmlClaim.Claim calldata claim, bytes calldata metadata, bytes calldata proof)
        external
        view
        returns (bool)
    {
        (Metadata calldata model, uint256 end) = _metadata(metadata);
        if (claim.model != model.model) revert ModelMismatch(model.model, claim.model);
        (bytes calldata transcript, uint256[] calldata instances) = _decode(proof, model.proofBytes, _count(model));
        _checkInstances(claim, model, end, instances);
        bytes32 codeHash = model.verifier.codehash;
        if (codeHash != model.codeHash) revert VerifierChanged(model.verifier, model.codeHash, codeHash);
        if (model.vka != address(0)) return _askReusable(model, transcript, instances);
        try IEzklVerifier(model.verifier).verifyProof(transcript, instances) returns (bool success) {
            return success;
        } catch {
            return false;
        }
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) public view override(ERC165, IERC165) returns (bool) {
        return interfaceId == type(IVmlVerifier).interfaceId || super.supportsInterface(interfaceId);
    }

    /// @dev Points into the calldata and copies nothing.
    function _metadata(bytes calldata metadata) private pure returns (Metadata calldata model, uint256 end) {
        if (metadata.length < WORD + HEAD_BYTES || uint256(bytes32(metadata)) != WORD) revert MetadataMalformed();
        assembly ("memory-safe") {
            model := add(metadata.offset, 32)
            end := add(metadata.offset, metadata.length)
        }
    }

    /// @dev keccak256(header || words). A header that reached out of the metadata could be the prover's. The compiler
    /// takes offsets for signed numbers, so a header could lie before the metadata as well as behind it.
    function _commitment(Metadata calldata model, bytes calldata header, uint256 end, uint256 from, uint256 to)
        private
        pure
        returns (bytes32)
    {
        bool inside;
        assembly ("memory-safe") {
            inside := iszero(or(lt(header.offset, model), gt(add(header.offset, header.length), end)))
        }
        if (!inside) revert MetadataMalformed();
        return EzklInstances.commitment(header, from, to);
    }

    function _count(Metadata calldata model) private view returns (uint256 count) {
        // Counts are below 2^32: neither here nor below anything can overflow.
        unchecked {
            count = uint256(model.inputWords) + model.outputWords + EzklInstances.LIMBS;
            count += inputIsPublic ? EzklInstances.LIMBS : 1;
            if (modelIsPrivate) ++count;
        }
    }

    /// @dev abi.decode, strictly: with both lengths known and whole words in both, there is one canonical encoding, and
    /// each of its words is compared. In particular no offset is followed.
    function _decode(bytes calldata proof, uint256 proofBytes, uint256 count)
        private
        pure
        returns (bytes calldata transcript, uint256[] calldata instances)
    {
        bool canonical;
        assembly ("memory-safe") {
            let at := proof.offset
            instances.offset := add(at, add(0x80, proofBytes))
            instances.length := count
            transcript.offset := add(at, 0x60)
            transcript.length := proofBytes
            canonical := iszero(and(proofBytes, 31))
            canonical := and(canonical, eq(proof.length, add(add(0x80, proofBytes), shl(5, count))))
            canonical := and(canonical, eq(calldataload(at), 0x40))
            canonical := and(canonical, eq(calldataload(add(at, 0x20)), add(0x60, proofBytes)))
            canonical := and(canonical, eq(calldataload(add(at, 0x40)), proofBytes))
            canonical := and(canonical, eq(calldataload(sub(instances.offset, 0x20)), count))
        }
        if (!canonical) revert NotCanonical();
    }

    /// @dev In order: the input, its context (values or a digest), the digest of private weights, the output, the
    /// context. The digest of a hidden input's context says nothing more: the circuit copies the context to the output.
    function _checkInstances(
        VmlClaim.Claim calldata claim,
        Metadata calldata model,
        uint256 end,
        uint256[] calldata instances
    ) private view {
        uint256 at;
        assembly ("memory-safe") {
            at := instances.offset
        }
        unchecked {
            uint256 next = at + uint256(model.inputWords) * WORD;
            bytes32 committed = _commitment(model, model.inputHeader, end, at, next);
            if (committed != claim.input) revert InputMismatch(committed, claim.input);
            if (inputIsPublic) {
                if (!EzklInstances.areIntegers(at, next)) revert InstanceOutOfRange();
                if (!EzklInstances.areLimbs(next, claim.context)) revert ContextMismatch(claim.context);
                at = next + EzklInstances.LIMBS * WORD;
            } else {
                if (!EzklInstances.areElements(at, next + WORD)) revert InstanceOutOfRange();
                at = next + WORD;
            }
            if (modelIsPrivate) {
                if (!EzklInstances.areElements(at, at + WORD)) revert InstanceOutOfRange();
                bytes32 parameters;
                assembly ("memory-safe") {
                    parameters := calldataload(at)
                }
                if (parameters != model.parameterDigest) revert ParametersMismatch();
                at += WORD;
            }
            next = at + uint256(model.outputWords) * WORD;
            committed = _commitment(model, model.outputHeader, end, at, next);
            if (committed != claim.output) revert OutputMismatch(committed, claim.output);
            if (!EzklInstances.areIntegers(at, next)) revert InstanceOutOfRange();
            if (!EzklInstances.areLimbs(next, claim.context)) revert ContextMismatch(claim.context);
        }
    }

    /// @dev What a high-level call would do, without bringing the VKA through an array in memory first, which costs
    /// 60 gas a word. Head and lengths are written here; what is copied are the parts between.
    function _askReusable(Metadata calldata model, bytes calldata transcript, uint256[] calldata instances)
        private
        view
        returns (bool success)
    {
        address verifier = model.verifier;
        address vka = model.vka;
        uint256 size = vka.code.length;
        if (size < 1 + WORD || size % WORD != 1) revert VkaMissing(vka);
        bytes4 selector = IEzklReusableVerifier.verifyProof.selector;
        bytes32 digest;
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, selector)
            let head := add(start, 4)
            let at := add(head, 0x60)
            mstore(head, 0x60)
            mstore(at, transcript.length)
            calldatacopy(add(at, 0x20), transcript.offset, transcript.length)
            at := add(at, add(0x20, transcript.length))
            mstore(add(head, 0x20), sub(at, head))
            mstore(at, instances.length)
            calldatacopy(add(at, 0x20), instances.offset, shl(5, instances.length))
            at := add(at, add(0x20, shl(5, instances.length)))
            mstore(add(head, 0x40), sub(at, head))
            mstore(at, shr(5, size))
            extcodecopy(vka, add(at, 0x20), 1, sub(size, 1))
            at := add(at, add(0x1f, size))
            // The first two words of the answer; the rest is not looked at.
            success := staticcall(gas(), verifier, start, sub(at, start), 0, 0x40)
            success := and(and(success, gt(returndatasize(), 0x3f)), eq(mload(0), 1))
            digest := mload(0x20)
        }
        if (success && digest != model.vkaDigest) revert VkaMismatch(model.vkaDigest, digest);
    }
}
