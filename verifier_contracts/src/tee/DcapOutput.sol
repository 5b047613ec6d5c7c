// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ISignerRegistry} from "src/interfaces/ISignerRegistry.sol";

/// @title What is in a genuine quote, read from what IDcapAttestation answers
/// @notice The attestation contract says that Intel signed for the machine. It looks at neither debug flags nor
/// measurements nor report data, and takes a platform that is out of date: all of that is checked here.
///   output   = version u16 || body type u16 || TCB status u8 || FMSPC (6) || body || advisory ids
///   SGX body = 384 bytes: attributes at 48, MRENCLAVE at 64, report data at 320
///   TD body  = 584 bytes, 648 for TD report 1.5: attributes at 120, MRTD at 136, RTMR0 to RTMR3 at 328, report data at
///   520; MR_SERVICETD at 600
/// Sources: Intel SGX ECDSA quote library reference, appendix A; Intel TDX DCAP quoting library, appendix A.
library DcapOutput {
    uint256 internal constant HEAD_BYTES = 11;
    uint256 private constant SGX = 1;
    uint256 private constant TD_15 = 3;
    // Statuses that no rules can allow: revoked, and one that the contract does not know.
    uint256 private constant NEVER = 1 << 6 | 1 << 7;
    // The first byte of a simulator's FMSPC is no platform's: ff"SIMUL".
    bytes6 internal constant SIMULATOR_FMSPC = 0xff53494d554c;

    error OutputMalformed();
    error BodyTypeRefused(uint256 bodyType);
    error TcbStatusRefused(uint256 status);
    /// @notice The host can read an enclave in debug mode.
    error DebugEnabled();
    /// @notice The host can take pages from the domain without its notice.
    error SeptVeEnabled();
    /// @notice A service domain may migrate the domain elsewhere.
    error ServiceTdPresent();
    error MeasurementRefused(bytes32 measurement);
    error CertificateMismatch(bytes32 expected, bytes32 got);
    error NonceMismatch(bytes32 expected, bytes32 got);

    /// @notice Reverts unless the quote is one of these rules, and for this key and nonce.
    /// @return simulated whether the platform is a simulator's
    function check(bytes memory output, ISignerRegistry.Rules calldata rules, bytes32 certificate, bytes32 nonce)
        internal
        pure
        returns (bool simulated)
    {
        uint256 bodyType = _bodyType(output);
        if (rules.bodyTypes >> bodyType & 1 == 0) revert BodyTypeRefused(bodyType);
        uint256 status = uint8(output[4]);
        if (!isAllowed(rules, status)) revert TcbStatusRefused(status);
        bytes32 measurement;
        uint256 reportData;
        if (bodyType == SGX) {
            if (uint8(output[HEAD_BYTES + 48]) & 0x02 != 0) revert DebugEnabled();
            measurement = _word(output, HEAD_BYTES + 64);
            reportData = HEAD_BYTES + 320;
        } else {
            // Bits 0 to 7: 0 is DEBUG, all others make a domain as little to be trusted or are to be zero.
            if (output[HEAD_BYTES + 120] != 0) revert DebugEnabled();
            // Bit 28.
            if (uint8(output[HEAD_BYTES + 123]) & 0x10 == 0) revert SeptVeEnabled();
            // Bit 29, MIGRATABLE: a TD report 1.0 does not name the service domain that would do it.
            if (uint8(output[HEAD_BYTES + 123]) & 0x20 != 0) revert ServiceTdPresent();
            if (bodyType == TD_15 && (_word(output, HEAD_BYTES + 600) | _word(output, HEAD_BYTES + 616)) != 0) {
                revert ServiceTdPresent();
            }
            measurement = _tdMeasurement(output);
            reportData = HEAD_BYTES + 520;
        }
        if (!_contains(rules.measurements, measurement)) revert MeasurementRefused(measurement);
        bytes32 got = _word(output, reportData);
        if (got != certificate) revert CertificateMismatch(certificate, got);
        got = _word(output, reportData + 32);
        if (got != nonce) revert NonceMismatch(nonce, got);
        return bytes6(_word(output, 5)) == SIMULATOR_FMSPC;
    }

    /// @notice Whether a quote with this output would still pass: of all the checks, only the status changes with time.
    function isStillGood(bytes memory output, ISignerRegistry.Rules calldata rules) internal pure returns (bool) {
        return output.length > 4 && isAllowed(rules, uint8(output[4]));
    }

    function isAllowed(ISignerRegistry.Rules calldata rules, uint256 status) internal pure returns (bool) {
        return (uint256(rules.tcbStatuses) & ~NEVER) >> status & 1 == 1;
    }

    /// @dev The output is long enough for all that is read of it.
    function _bodyType(bytes memory output) private pure returns (uint256 bodyType) {
        if (output.length < HEAD_BYTES) revert OutputMalformed();
        uint256 version = uint16(bytes2(_word(output, 0)));
        bodyType = uint16(bytes2(_word(output, 0) << 16));
        if (version < 3 || version > 5 || bodyType < SGX || bodyType > TD_15) revert OutputMalformed();
        uint256 body = bodyType == SGX ? 384 : bodyType == TD_15 ? 648 : 584;
        if (output.length < HEAD_BYTES + body || (output.length - HEAD_BYTES - body) % 32 != 0) {
            revert OutputMalformed();
        }
    }

    /// @dev MRTD and the four registers lie apart: 48 bytes, and 192.
    function _tdMeasurement(bytes memory output) private pure returns (bytes32 measurement) {
        assembly ("memory-safe") {
            let body := add(add(output, 32), 11)
            let buffer := mload(0x40)
            mcopy(buffer, add(body, 136), 48)
            mcopy(add(buffer, 48), add(body, 328), 192)
            measurement := keccak256(buffer, 240)
        }
    }

    function _word(bytes memory data, uint256 offset) private pure returns (bytes32 word) {
        assembly ("memory-safe") {
            word := mload(add(add(data, 32), offset))
        }
    }

    function _contains(bytes32[] calldata list, bytes32 wanted) private pure returns (bool) {
        for (uint256 i = 0; i < list.length; ++i) {
            if (list[i] == wanted) return true;
        }
        return false;
    }
}
