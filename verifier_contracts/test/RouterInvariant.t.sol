// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC7992Registry} from "src/interfaces/IERC7992Registry.sol";
import {IVmlRouter} from "src/interfaces/IVmlRouter.sol";
import {IVmlVerifier} from "src/interfaces/IVmlVerifier.sol";
import {VmlClaim} from "src/libraries/VmlClaim.sol";
import {ModelRegistry} from "src/ModelRegistry.sol";
import {VmlRouter} from "src/VmlRouter.sol";
import {MockVerifier} from "test/Mocks.sol";
import {Test} from "test/Vm.sol";

/// @title Everybody at once: owner, guardian, three owners of models and a stranger try everything in any order
/// @notice Keeps its own account of what must now hold, from who called and whether it went through.
contract Everybody is Test {
    uint256 internal constant SCHEMES = 3;
    uint256 internal constant PEOPLE = 4;
    bytes32 internal constant MODEL = keccak256("model");

    ModelRegistry public registry = new ModelRegistry();
    VmlRouter public router;
    address public owner = address(0x100);
    address public guardian = address(0x200);

    // Two verifiers for each scheme: the second must never take the place of the first.
    MockVerifier[2][SCHEMES] public verifiers;
    bytes4[SCHEMES] public selectors;
    bytes32[PEOPLE] public keys;

    // The account.
    mapping(bytes4 => address) public routed;
    mapping(bytes4 => bool) public frozen;
    mapping(bytes4 => bool) public removed;
    mapping(bytes32 => mapping(bytes4 => bytes)) public metadata;
    mapping(bytes32 => mapping(bytes4 => bool)) public enabled;
    mapping(bytes32 => mapping(bytes4 => bool)) public equivocated;
    mapping(bytes32 => bool) public registered;
    mapping(bytes32 => bool) public deprecated;
    mapping(bytes32 => bool) public locked;
    // When a claim was recorded under a key, a selector and this metadata; the last time that it was news.
    mapping(bytes32 => mapping(uint64 => bool)) public recordedThen;

    constructor() {
        router = new VmlRouter(owner, guardian, registry);
        string[SCHEMES] memory schemes = ["mock/1", "mock/2", "mock/3"];
        for (uint256 i = 0; i < SCHEMES; ++i) {
            verifiers[i] = [new MockVerifier(schemes[i]), new MockVerifier(schemes[i])];
            selectors[i] = verifiers[i][0].selector();
        }
        for (uint256 i = 0; i < PEOPLE; ++i) {
            keys[i] = registry.keyOf(person(i), MODEL);
        }
    }

    function person(uint256 i) public view returns (address) {
        i %= PEOPLE + 2;
        return i == PEOPLE ? owner : i == PEOPLE + 1 ? guardian : address(uint160(0x1000 + i));
    }

    function claimOf(uint256 i) public pure returns (VmlClaim.Claim memory) {
        return VmlClaim.Claim(MODEL, keccak256("input"), bytes32(i % 2), 0);
    }

    /// @dev What must now be accepted, by the account alone.
    function expected(bytes32 key, bytes4 selector) public view returns (bool) {
        bool open = routed[selector] != address(0) && !frozen[selector] && !removed[selector];
        return open && registered[key] && enabled[key][selector] && !deprecated[key] && !equivocated[key][selector];
    }

    // ---- moves -----------------------------------------------------------------------------------------------------

    function addRoute(uint256 who, uint256 scheme, uint256 which) external {
        MockVerifier verifier = verifiers[scheme % SCHEMES][which % 2];
        bytes4 selector = selectors[scheme % SCHEMES];
        vm.prank(person(who));
        try router.addRoute(verifier) {
            check(person(who) == owner, "only the owner adds routes");
            check(routed[selector] == address(0), "a selector is used once");
            routed[selector] = address(verifier);
        } catch {}
    }

    function freezeRoute(uint256 who, uint256 scheme) external {
        bytes4 selector = selectors[scheme % SCHEMES];
        vm.prank(person(who));
        try router.freezeRoute(selector, "") {
            check(person(who) == owner || person(who) == guardian, "only the owner and the guardian freeze");
            frozen[selector] = true;
        } catch {}
    }

    function removeRoute(uint256 who, uint256 scheme) external {
        bytes4 selector = selectors[scheme % SCHEMES];
        vm.prank(person(who));
        try router.removeRoute(selector) {
            check(person(who) == owner, "only the owner removes");
            removed[selector] = true;
        } catch {}
    }

    function register(uint256 who) external {
        IERC7992Registry.ModelCommitment memory commitment;
        commitment.modelHash = MODEL;
        vm.prank(person(who % PEOPLE));
        try registry.registerModel(commitment) returns (uint256 id) {
            check(bytes32(id) == keys[who % PEOPLE], "the caller's own key");
            registered[bytes32(id)] = true;
        } catch {}
    }

    function setBackend(uint256 who, uint256 whose, uint256 scheme, bytes32 data) external {
        bytes32 key = keys[whose % PEOPLE];
        bytes4 selector = selectors[scheme % SCHEMES];
        vm.prank(person(who));
        try registry.setBackend(key, selector, abi.encode(data), 0) {
            check(person(who) == person(whose % PEOPLE), "only its owner enables");
            check(!locked[key] && !deprecated[key], "not what is locked or deprecated");
            (metadata[key][selector], enabled[key][selector]) = (abi.encode(data), true);
        } catch {}
    }

    function revokeBackend(uint256 who, uint256 whose, uint256 scheme) external {
        bytes32 key = keys[whose % PEOPLE];
        bytes4 selector = selectors[scheme % SCHEMES];
        vm.prank(person(who));
        try registry.revokeBackend(key, selector) {
            check(person(who) == person(whose % PEOPLE), "only its owner revokes");
            enabled[key][selector] = false;
        } catch {}
    }

    function retire(uint256 who, uint256 whose, uint256 how) external {
        bytes32 key = keys[whose % PEOPLE];
        vm.prank(person(who));
        if (how % 8 == 0) {
            try registry.deprecateModel(uint256(key)) {
                check(person(who) == person(whose % PEOPLE), "only its owner deprecates");
                deprecated[key] = true;
            } catch {}
        } else if (how % 8 == 1) {
            try registry.lockBackends(key) {
                check(person(who) == person(whose % PEOPLE), "only its owner locks");
                locked[key] = true;
            } catch {}
        } else {
            try registry.declareDeterministic(key) {
                check(person(who) == person(whose % PEOPLE), "only its owner declares");
            } catch {}
        }
    }

    function record(uint256 whose, uint256 scheme, uint256 claim, bool forged) external {
        bytes32 key = keys[whose % PEOPLE];
        bytes4 selector = selectors[scheme % SCHEMES];
        bytes memory proof = prove(key, scheme, claim);
        if (forged) proof[proof.length - 1] ^= 0x01;
        bytes32 digest = VmlClaim.digest(claimOf(claim));
        vm.warp(block.timestamp + 1);
        try router.record(key, claimOf(claim), proof) {
            check(!forged && expected(key, selector), "only what is proved is recorded");
            recordedThen[slotOf(key, digest, selector)][uint64(block.timestamp)] = true;
            (IVmlRouter.Status status,,) = router.statusOf(key, digest);
            check(status == IVmlRouter.Status.Accepted, "what is recorded has its status");
            check(router.recordedAt(key, digest, selector) != 0, "and its time");
        } catch {
            check(forged || !expected(key, selector), "all that is proved is recorded");
        }
    }

    function slotOf(bytes32 key, bytes32 digest, bytes4 selector) public view returns (bytes32) {
        return keccak256(abi.encode(key, digest, selector, metadata[key][selector]));
    }

    function freezeByEquivocation(uint256 whose, uint256 scheme) external {
        bytes32 key = keys[whose % PEOPLE];
        bytes4 selector = selectors[scheme % SCHEMES];
        bytes memory proofA = prove(key, scheme, 0);
        bytes memory proofB = prove(key, scheme, 1);
        try router.freezeByEquivocation(key, claimOf(0), proofA, claimOf(1), proofB) {
            check(registry.isDeterministic(key) && expected(key, selector), "only of the deterministic, only if proved");
            equivocated[key][selector] = true;
        } catch {}
    }

    function prove(bytes32 key, uint256 scheme, uint256 claim) public view returns (bytes memory) {
        return verifiers[scheme % SCHEMES][0].prove(claimOf(claim), metadata[key][selectors[scheme % SCHEMES]]);
    }
}

contract RouterInvariantTest is Test {
    Everybody internal everybody;
    VmlRouter internal router;

    function setUp() external {
        everybody = new Everybody();
        router = everybody.router();
        // So that most runs start where something can be verified.
        everybody.register(0);
        for (uint256 scheme = 0; scheme < 2; ++scheme) {
            everybody.addRoute(4, scheme, 0);
            everybody.setBackend(0, 0, scheme, "metadata");
        }
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(everybody);
    }

    function invariant_routes() external view {
        for (uint256 i = 0; i < 3; ++i) {
            bytes4 selector = everybody.selectors(i);
            (IVmlVerifier verifier, IVmlRouter.RouteState state) = router.routes(selector);
            checkEqual(address(verifier), everybody.routed(selector), "a selector never changes its verifier");
            if (everybody.removed(selector)) {
                check(state == IVmlRouter.RouteState.Removed, "removed never returns");
            } else if (everybody.frozen(selector)) {
                check(state == IVmlRouter.RouteState.Frozen, "frozen stays frozen");
            }
        }
    }

    function invariant_onlyEnabledBackendsOfOpenRoutesVerify() external view {
        for (uint256 i = 0; i < 3; ++i) {
            for (uint256 person = 0; person < 4; ++person) {
                bytes32 key = everybody.keys(person);
                (bool valid,) = router.tryVerify(key, everybody.claimOf(0), everybody.prove(key, i, 0));
                check(valid == everybody.expected(key, everybody.selectors(i)), "exactly what the account says");
            }
        }
    }

    function invariant_recordsAreOfTheBackendThatIsEnabled() external view {
        for (uint256 claim = 0; claim < 2; ++claim) {
            bytes32 digest = VmlClaim.digest(everybody.claimOf(claim));
            for (uint256 person = 0; person < 4; ++person) {
                bytes32 key = everybody.keys(person);
                (IVmlRouter.Status status, bytes4 selector, uint64 at) = router.statusOf(key, digest);
                if (status == IVmlRouter.Status.Accepted) {
                    check(everybody.enabled(key, selector), "of a backend that is enabled");
                    check(everybody.recordedThen(everybody.slotOf(key, digest, selector), at), "with this metadata");
                } else {
                    check(status == IVmlRouter.Status.Unknown && selector == 0 && at == 0, "nothing");
                }
            }
        }
    }
}
