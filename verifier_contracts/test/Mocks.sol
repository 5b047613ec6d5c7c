// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC165, IERC165} from "@openzeppelin/contracts/utils/introspection/ERC165.sol";
import {IVmlConsumer} from "src/interfaces/IVmlConsumer.sol";
import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {IVmlVerifier} from "src/interfaces/IVmlVerifier.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";

/// @title A proof system for tests: the proof of a claim is its digest and the hash of the model's metadata
contract MockVerifier is IVmlVerifier, ERC165 {
    string public scheme;

    constructor(string memory scheme_) {
        scheme = scheme_;
    }

    function selector() public view returns (bytes4) {
        return bytes4(keccak256(bytes(scheme)));
    }

    function prove(VmlClaim.Claim memory claim, bytes memory metadata) external view returns (bytes memory) {
        return abi.encodePacked(selector(), keccak256(metadata), VmlClaim.digest(claim));
    }

    function verify(VmlClaim.Claim calldata claim, bytes calldata metadata, bytes calldata proof)
        external
        view
        virtual
        returns (bool)
    {
        return keccak256(proof) == keccak256(abi.encodePacked(keccak256(metadata), VmlClaim.digest(claim)));
    }

    function supportsInterface(bytes4 id) public view virtual override(ERC165, IERC165) returns (bool) {
        return id == type(IVmlVerifier).interfaceId || super.supportsInterface(id);
    }
}

/// @title Everything that a contract can answer instead of a bool
contract HostileVerifier is MockVerifier {
    enum Mood {
        False,
        Reverts,
        RevertsWithTrue,
        BurnsGas,
        ReturnsNothing,
        ReturnsTwo,
        ReturnsOneByte,
        ReturnsTwoWords,
        ReturnsMegabytes,
        RevertsWithMegabytes
    }

    Mood public mood;

    constructor(string memory scheme_) MockVerifier(scheme_) {}

    function setMood(Mood mood_) external {
        mood = mood_;
    }

    function verify(VmlClaim.Claim calldata, bytes calldata, bytes calldata) external view override returns (bool) {
        Mood now_ = mood;
        if (now_ == Mood.False) return false;
        assembly ("memory-safe") {
            mstore(0, 1)
            mstore(32, 1)
            switch now_
            case 1 { revert(0, 0) }
            case 2 { revert(0, 32) }
            case 3 { invalid() }
            case 4 { return(0, 0) }
            case 5 {
                mstore(0, 2)
                return(0, 32)
            }
            case 6 { return(31, 1) }
            case 7 { return(0, 64) }
            case 8 { return(0, 1000000) }
            default { revert(0, 1000000) }
        }
    }
}

/// @title A consumer that behaves as told
contract MockConsumer is IVmlConsumer {
    enum Mood {
        Good,
        WrongAnswer,
        Reverts,
        BurnsGas,
        ReturnsMegabytes,
        ReturnsNothing
    }

    Mood public mood;
    uint256 public calls;
    uint256 public gasSeen;
    bytes32 public heard;

    function setMood(Mood mood_) external {
        mood = mood_;
    }

    function onVmlResult(
        bytes32 digest,
        VmlClaim.Claim calldata claim,
        IVmlRouter.Status status,
        bytes4 selector,
        bytes calldata userData
    ) external returns (bytes4) {
        gasSeen = gasleft();
        if (mood == Mood.WrongAnswer) return 0xffffffff;
        if (mood == Mood.Reverts) revert("no");
        if (mood == Mood.BurnsGas) {
            while (true) ++calls;
        }
        if (mood >= Mood.ReturnsMegabytes) {
            uint256 length = mood == Mood.ReturnsMegabytes ? 1e6 : 0;
            assembly ("memory-safe") {
                return(0, length)
            }
        }
        ++calls;
        heard = keccak256(abi.encode(digest, claim, status, selector, userData));
        return IVmlConsumer.onVmlResult.selector;
    }
}
