// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title Who checks Intel's quotes on chain: the entry point of automata-dcap-attestation 1.1, or one like it
/// @notice What it answers says that a quote is genuine, and nothing of what is in it: see DcapOutput for the rest.
interface IDcapAttestation {
    /// @param quote an SGX or TDX quote, of version 3, 4 or 5
    /// @return success whether the quote is genuine as of now
    /// @return output if so: version u16 || body type u16 || TCB status u8 || FMSPC (6 bytes) || body || advisory ids;
    /// otherwise a text that says why not
    function verifyAndAttestOnChain(bytes calldata quote) external payable returns (bool success, bytes memory output);

    /// @notice The same by a proof that some program checked a quote.
    /// @param journal what the program put out
    /// @param coprocessor which proof system, in the entry point's own numbers
    /// @param proof of the program's run
    function verifyAndAttestWithZKProof(bytes calldata journal, uint8 coprocessor, bytes calldata proof)
        external
        payable
        returns (bool success, bytes memory output);
}
