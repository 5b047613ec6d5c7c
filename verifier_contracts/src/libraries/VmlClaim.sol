// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title The claim and its digest, as in vml/claim.py
/// @notice A claim says that `model`, on `input`, gave `output`, for the use `context`. Its digest is an EIP-712
/// hash under the domain {name: "vml", version: "1"}, which holds no chain id on purpose: one claim is the same
/// statement everywhere, and `context` is what binds it to one use. A zero context means "replayable on purpose".
library VmlClaim {
    struct Claim {
        bytes32 model;
        bytes32 input;
        bytes32 output;
        bytes32 context;
    }

    /// @dev `consumer` is the member that EIP-712 names `contract`, a reserved word of Solidity.
    struct Context {
        address requester;
        uint256 chainId;
        address consumer;
        bytes32 requestId;
        address payee;
        uint64 expiry;
    }

    bytes32 internal constant CLAIM_TYPE_HASH =
        keccak256("Claim(bytes32 model,bytes32 input,bytes32 output,bytes32 context)");

    bytes32 internal constant CONTEXT_TYPE_HASH = keccak256(
        "Context(address requester,uint256 chainId,address contract,bytes32 requestId,address payee,uint64 expiry)"
    );

    bytes32 internal constant DOMAIN_SEPARATOR =
        keccak256(abi.encode(keccak256("EIP712Domain(string name,string version)"), keccak256("vml"), keccak256("1")));

    /// @notice The digest that every backend proves, signs, asserts or absorbs.
    function digest(Claim memory claim) internal pure returns (bytes32) {
        bytes32 structHash =
            keccak256(abi.encode(CLAIM_TYPE_HASH, claim.model, claim.input, claim.output, claim.context));
        return keccak256(abi.encodePacked(bytes2(0x1901), DOMAIN_SEPARATOR, structHash));
    }

    /// @notice The value of `Claim.context` that binds a claim to one use.
    function commitment(Context memory context) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                CONTEXT_TYPE_HASH,
                context.requester,
                context.chainId,
                context.consumer,
                context.requestId,
                context.payee,
                context.expiry
            )
        );
    }
}
