// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Erc8004Validator} from "src/adapters/Erc8004Validator.sol";
import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {IERC8004ValidationRegistry} from "src/interfaces/erc/IERC8004.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {RouterBench} from "test/RouterBench.sol";

/// @title As much of ERC-8004's registry as a validator meets; who may ask for an agent is not its concern
contract Validations is IERC8004ValidationRegistry {
    struct Entry {
        address validator;
        uint256 agentId;
        uint8 response;
        bytes32 responseHash;
        string tag;
        uint256 lastUpdate;
    }

    mapping(bytes32 requestHash => Entry) public getValidationStatus;

    function validationRequest(address validator, uint256 agentId, string calldata, bytes32 requestHash) external {
        require(getValidationStatus[requestHash].validator == address(0), "exists");
        getValidationStatus[requestHash].validator = validator;
        getValidationStatus[requestHash].agentId = agentId;
    }

    function validationResponse(
        bytes32 requestHash,
        uint8 response,
        string calldata,
        bytes32 responseHash,
        string calldata tag
    ) external {
        Entry storage entry = getValidationStatus[requestHash];
        require(msg.sender == entry.validator, "not the validator");
        (entry.response, entry.responseHash, entry.tag) = (response, responseHash, tag);
        entry.lastUpdate = block.timestamp;
    }
}

contract Erc8004ValidatorTest is RouterBench {
    Validations internal validations;
    Erc8004Validator internal validator;
    Erc8004Validator.Request internal request;

    function setUp() public override {
        super.setUp();
        validations = new Validations();
        validator = new Erc8004Validator(router, key, false, validations);
        request = Erc8004Validator.Request(7, MODEL, keccak256("input"), keccak256("output"), "salt");
    }

    function ask(Erc8004Validator of_) internal returns (bytes32 requestHash, bytes memory proof) {
        requestHash = of_.requestHashOf(request);
        validations.validationRequest(address(of_), request.agentId, "ipfs://request", requestHash);
        proof = proofOf(of_.claimOf(request));
    }

    function test_selectors() external pure {
        checkEqual(IERC8004ValidationRegistry.validationResponse.selector, bytes4(0x3d659a96), "the draft's response");
    }

    function test_answers100ForAProof() external {
        (bytes32 requestHash, bytes memory proof) = ask(validator);
        checkEqual(requestHash, keccak256(abi.encode(request)), "the hash of the file at requestURI");
        bytes32 digest = VmlClaim.digest(validator.claimOf(request));
        vm.expectEmit();
        emit Erc8004Validator.Validated(requestHash, 7, digest, selector);
        validator.validate(request, proof);
        (,, uint8 response, bytes32 responseHash, string memory tag,) = validations.getValidationStatus(requestHash);
        checkEqual(response, 100, "passed");
        checkEqual(responseHash, digest, "what was proved");
        checkEqual(keccak256(bytes(tag)), keccak256("vml"), "the tag");

        vm.expectRevert(abi.encodeWithSelector(Erc8004Validator.AlreadyValidated.selector, requestHash));
        validator.validate(request, proof);
    }

    function test_answersUnderAPolicy() external {
        bytes32 policyId = router.definePolicy(policyOf(key, selector));
        validator = new Erc8004Validator(router, policyId, true, validations);
        (bytes32 requestHash, bytes memory proof) = ask(validator);
        validator.validate(request, proof);
        (,, uint8 response,,,) = validations.getValidationStatus(requestHash);
        checkEqual(response, 100, "passed");
    }

    function testFuzz_refusesOtherProofs(bytes memory proof, bytes32 output) external {
        (bytes32 requestHash, bytes memory good) = ask(validator);
        refused(proof);
        vm.assume(output != request.output);
        request.output = output;
        validations.validationRequest(address(validator), 7, "", validator.requestHashOf(request));
        refused(good);
        (,, uint8 response,,, uint256 lastUpdate) = validations.getValidationStatus(requestHash);
        check(response == 0 && lastUpdate == 0, "no answer");
    }

    function refused(bytes memory proof) internal {
        Erc8004Validator.Request memory asked = request;
        vm.expectRevert();
        validator.validate(asked, proof);
    }

    function test_refusesWhatItWasNotAsked() external {
        bytes memory proof = proofOf(validator.claimOf(request));
        bytes memory notAsked =
            abi.encodeWithSelector(Erc8004Validator.NotAsked.selector, validator.requestHashOf(request));
        vm.expectRevert(notAsked);
        validator.validate(request, proof);
        // Of another validator, or about an agent other than the request's.
        validations.validationRequest(address(0xdead), 7, "", validator.requestHashOf(request));
        vm.expectRevert(notAsked);
        validator.validate(request, proof);
        request.salt = "another";
        validations.validationRequest(address(validator), 8, "", validator.requestHashOf(request));
        notAsked = abi.encodeWithSelector(Erc8004Validator.NotAsked.selector, validator.requestHashOf(request));
        proof = proofOf(validator.claimOf(request));
        vm.expectRevert(notAsked);
        validator.validate(request, proof);
    }

    function test_oneProofForOneRequestOfOneValidator() external {
        (, bytes memory proof) = ask(validator);
        request.salt = "another";
        ask(validator);
        vm.expectRevert(error1(IVmlRouter.InvalidProof.selector, selector));
        validator.validate(request, proof);
        request.salt = "salt";
        vm.chainId(5);
        vm.expectRevert(error1(IVmlRouter.InvalidProof.selector, selector));
        validator.validate(request, proof);
    }
}
