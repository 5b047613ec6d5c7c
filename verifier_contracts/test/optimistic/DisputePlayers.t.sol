// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IDisputeGame} from "src/interfaces/IDisputeGame.sol";
import {DisputeGame} from "src/optimistic/DisputeGame.sol";
import {DisputeBench} from "test/optimistic/DisputeBench.sol";

/// @title An honest asserter, an honest challenger, a liar and shams do everything in any order, at any time
/// @notice The honest ones move by themselves whenever time passes: at the latest in the last second that the extension
/// leaves them. Alice asserts what is true. Bob disputes what is false. Mallory lies, answers or does not, and Carol
/// opens disputes and requests without a reason and stalls.
contract DisputePlayers is DisputeBench {
    uint256 internal constant MOST = 8;
    uint256 internal constant ROUNDS = 40;

    /// @dev `which` is the trace behind it; zero is true. `from` is the newest assertion of the question when settling
    /// began, plus one; `walked` how many were gone through.
    struct Said {
        bytes32 id;
        uint256 which;
        bool published;
        bytes32 context;
        uint256 nonce;
        bool disputed;
        uint256 from;
        uint256 walked;
    }

    struct Opened {
        bytes32 id;
        uint256 about;
        bool honest;
    }

    Said[] internal said;
    Opened[] internal opened;
    uint256 internal salt;
    /// @notice Whether the honest ones have gone, so that only time-outs are left.
    bool public over;
    mapping(bytes4 => uint256) public refusals;

    constructor() {
        setUp();
    }

    function setUp() public override {
        if (address(game) == address(0)) super.setUp();
    }

    function theGame() external view returns (DisputeGame) {
        return game;
    }

    function counts() external view returns (uint256 assertions, uint256 disputes) {
        return (said.length, opened.length);
    }

    function assertionAt(uint256 i) public view returns (IDisputeGame.Assertion memory) {
        Said storage s = said[i];
        return assertionOf(s.which, s.which == 0 ? ALICE : MALLORY, s.context, s.published, s.nonce);
    }

    function isTrue(uint256 i) external view returns (bool) {
        return said[i].which == 0;
    }

    function recordAt(uint256 i) public view returns (IDisputeGame.Record memory) {
        return game.recordOf(said[i].id);
    }

    /// @notice What the open assertions, requests and disputes hold.
    function held() external view returns (uint256 sum) {
        for (uint256 i = 0; i < said.length; ++i) {
            IDisputeGame.Record memory record = recordAt(i);
            if (record.status == IDisputeGame.Status.Open) sum += rules.asserterBond;
            if (record.requestedAt != 0) sum += rules.challengerBond;
        }
        for (uint256 i = 0; i < opened.length; ++i) {
            if (game.disputeOf(opened[i].id).result == IDisputeGame.Result.Open) sum += rules.challengerBond;
        }
    }

    function credits() external view returns (uint256) {
        return game.creditOf(ALICE) + game.creditOf(BOB) + game.creditOf(CAROL) + game.creditOf(MALLORY);
    }

    // ---- moves of the adversary, and the honest asserter's claims ----------------------------------------------------

    function asserts(uint256 which, uint256 question, bool withInput, bool published) external {
        if (said.length >= MOST) return;
        which = which % (2 * (LIES + 1));
        if (which > LIES) which = 0;
        said.push(Said(0, which, published, bytes32(question % 2), said.length, false, 0, 0));
        uint256 i = said.length - 1;
        said[i].id = asserted(assertionAt(i), withInput ? inputOf(which) : new bytes[](0));
    }

    function storesInput(uint256 which) external {
        game.storeInput(model, inputOf(which % (LIES + 1)));
    }

    /// @notice Mallory answers one dispute, with her own trace or with the true one.
    function answers(uint256 which, bool withTruth) external {
        if (opened.length == 0) return;
        Opened storage o = opened[which % opened.length];
        IDisputeGame.Assertion memory a = assertionAt(o.about);
        if (a.asserter == ALICE) return;
        try this.revealsAs(o.about, o.id, withTruth ? 0 : said[o.about].which) {}
        catch (bytes memory why) {
            refused(why);
        }
    }

    function answersRequest(uint256 which) external {
        if (said.length == 0) return;
        IDisputeGame.Assertion memory a = assertionAt(which % said.length);
        bytes[] memory input = inputOf(said[which % said.length].which);
        vm.prank(a.asserter);
        try game.revealInput(a, input) {}
        catch (bytes memory why) {
            refused(why);
        }
    }

    function requests(uint256 which) external {
        if (said.length == 0) return;
        request(which % said.length, CAROL);
    }

    function challenges(uint256 which, bool byAsserter) external {
        if (said.length == 0 || opened.length >= 3 * MOST) return;
        which %= said.length;
        challenge(which, byAsserter ? assertionAt(which).asserter : CAROL);
    }

    /// @notice A sham picks anything at all.
    function picks(uint256 which, uint256 what, uint256 whose) external {
        if (opened.length == 0) return;
        Opened storage o = opened[which % opened.length];
        if (o.honest) return;
        IDisputeGame.Dispute memory d = game.disputeOf(o.id);
        // Mostly out of the list that was revealed: paths into another are refused.
        whose = whose % 4 == 0 ? whose % (LIES + 1) : said[o.about].which;
        try this.picksAs(o.about, o.id, whose, d.asked, what) {}
        catch (bytes memory why) {
            refused(why);
        }
    }

    /// @notice Anybody tries to refute anything with any step.
    function provesAnything(uint256 which, uint256 lie, bool fraud) external {
        lie = 1 + lie % LIES;
        if (fraud && said.length != 0) {
            try this.fraudAs(which % said.length, lie) {}
            catch (bytes memory why) {
                refused(why);
            }
        } else if (opened.length != 0) {
            Opened storage o = opened[which % opened.length];
            try this.provesAs(o.about, o.id, lie) {}
            catch (bytes memory why) {
                refused(why);
            }
        }
    }

    function provesList(uint256 which, uint256 whose) external {
        if (said.length == 0) return;
        IDisputeGame.Assertion memory a = assertionAt(which % said.length);
        bytes32[] memory roots = list(whose % (LIES + 1));
        vm.prank(CAROL);
        try game.proveList(a, roots) {}
        catch (bytes memory why) {
            refused(why);
        }
    }

    function escalates(uint256 which, bool admitted) external {
        if (said.length == 0) return;
        // A stronger proof of something false would be that scheme's failure, not the game's.
        which %= said.length;
        escalations.set(admitted && said[which].which == 0);
        try game.escalate(assertionAt(which), hex"01020304") {}
        catch (bytes memory why) {
            refused(why);
        }
    }

    function withdraws(uint256 who) external {
        vm.prank([ALICE, BOB, CAROL, MALLORY][who % 4]);
        try game.withdraw() {}
        catch (bytes memory why) {
            refused(why);
        }
    }

    function closes(uint256 which, uint256 limit) external {
        if (said.length != 0) close(which % said.length, limit % 4);
        if (opened.length != 0) timeOut(which % opened.length);
    }

    /// @notice Time passes. The honest ones are as slow as they may be.
    function waits(uint256 time) external {
        time = bound(time, 1, 2 * rules.window);
        uint256 first = time < rules.extension ? time : rules.extension;
        vm.warp(block.timestamp + first);
        honestly();
        vm.warp(block.timestamp + time - first);
    }

    // ---- the honest ones ---------------------------------------------------------------------------------------------

    /// @notice They do all that they can do now.
    function honestly() public {
        for (uint256 round = 0; round < 10; ++round) {
            bool moved = false;
            for (uint256 i = 0; i < said.length; ++i) {
                if (recordAt(i).status != IDisputeGame.Status.Open) continue;
                moved = (said[i].which == 0 ? aliceOn(i) : bobOn(i)) || moved;
            }
            for (uint256 i = 0; i < opened.length; ++i) {
                moved = about(i) || moved;
            }
            if (!moved) return;
        }
        check(false, "the honest ones come to rest");
    }

    function aliceOn(uint256 i) private returns (bool) {
        if (recordAt(i).requestedAt == 0) return close(i, 100);
        IDisputeGame.Assertion memory a = assertionAt(i);
        bytes[] memory input = inputOf(0);
        vm.prank(ALICE);
        game.revealInput(a, input);
        return true;
    }

    function bobOn(uint256 i) private returns (bool) {
        IDisputeGame.Record memory record = recordAt(i);
        IDisputeGame.Assertion memory a = assertionAt(i);
        if (!record.inputPublic) {
            if (record.requestedAt == 0) return request(i, BOB);
            try game.claimInputTimeout(a) {
                return true;
            } catch {
                return false;
            }
        }
        if (said[i].disputed) return false;
        said[i].disputed = true;
        challenge(i, BOB);
        opened[opened.length - 1].honest = true;
        return true;
    }

    /// @dev Alice answers what is asked of her; Bob plays his own disputes; both call time.
    function about(uint256 i) private returns (bool) {
        Opened storage o = opened[i];
        IDisputeGame.Dispute memory d = game.disputeOf(o.id);
        if (d.result != IDisputeGame.Result.Open) return false;
        if (timeOut(i)) return true;
        bool shown = d.asked
            ? game.revealedAt(d.assertion, IDisputeGame.Position(d.operator, d.height, d.index)) != 0
            : recordAt(o.about).rootsAt != 0;
        if (said[o.about].which == 0) {
            if (shown) return false;
            reveals(assertionAt(o.about), o.id, 0);
            return true;
        }
        if (!o.honest || !shown) return false;
        bobMoves(o.about, o.id, d);
        return true;
    }

    function bobMoves(uint256 i, bytes32 dispute, IDisputeGame.Dispute memory d) private {
        uint256 lie = said[i].which;
        IDisputeGame.Assertion memory a = assertionAt(i);
        if (!d.asked) {
            picksOperator(a, dispute, lie, traces[lie].operator);
        } else if (d.height > 0) {
            uint256 leaf = traces[lie].odd;
            picksChild(a, dispute, lie, uint8(d.height == 6 ? leaf >> 1 : leaf & 1));
        } else {
            proves(a, dispute, lie);
        }
    }

    // ---- the end -----------------------------------------------------------------------------------------------------

    /// @notice Nobody answers any more. Anybody closes what is open; says how long that took.
    function ends() external returns (uint256 took) {
        over = true;
        uint256 start = block.timestamp;
        for (uint256 round = 0; round < ROUNDS; ++round) {
            bool open = false;
            for (uint256 i = 0; i < opened.length; ++i) {
                timeOut(i);
                open = open || game.disputeOf(opened[i].id).result == IDisputeGame.Result.Open;
            }
            for (uint256 i = 0; i < said.length; ++i) {
                if (recordAt(i).requestedAt != 0) {
                    try game.claimInputTimeout(assertionAt(i)) {} catch {}
                }
                close(i, 100);
                open = open || recordAt(i).status == IDisputeGame.Status.Open;
            }
            if (!open) return block.timestamp - start;
            vm.warp(block.timestamp + 100);
        }
        return type(uint256).max;
    }

    /// @dev Tries to settle, or to have the rivals compared.
    function close(uint256 i, uint256 limit) private returns (bool) {
        if (recordAt(i).status != IDisputeGame.Status.Open) return false;
        try game.settle(assertionAt(i), limit, rivalsOf(i)) {
            if (said[i].from == 0) said[i].from = said.length;
            said[i].walked += limit;
            return recordAt(i).status != IDisputeGame.Status.Open;
        } catch (bytes memory why) {
            refused(why);
            return false;
        }
    }

    /// @dev Newest first, of the same question, from where comparing stopped: those that were made before the window
    /// closed and are not slashed.
    function rivalsOf(uint256 i) private view returns (IDisputeGame.Assertion[] memory rivals) {
        uint256 count = 0;
        uint256 walked = 0;
        bool[] memory matters = new bool[](said.length);
        uint256 newest = said[i].from == 0 ? said.length : said[i].from;
        for (uint256 back = 1; back <= newest; ++back) {
            uint256 k = newest - back;
            if (said[k].context != said[i].context) continue;
            if (traces[said[k].which].claimedInput != traces[said[i].which].claimedInput) continue;
            if (walked++ < said[i].walked || k == i) continue;
            IDisputeGame.Record memory record = recordAt(k);
            if (record.status == IDisputeGame.Status.Slashed || record.openedAt > recordAt(i).closesAt) continue;
            matters[k] = true;
            ++count;
        }
        rivals = new IDisputeGame.Assertion[](count);
        for (uint256 k = 0; k < said.length; ++k) {
            if (matters[k]) rivals[--count] = assertionAt(k);
        }
    }

    function timeOut(uint256 i) private returns (bool) {
        Opened storage o = opened[i];
        if (game.disputeOf(o.id).result != IDisputeGame.Result.Open) return false;
        IDisputeGame.Assertion memory a = assertionAt(o.about);
        if (recordAt(o.about).status == IDisputeGame.Status.Slashed) {
            game.closeMoot(a, o.id);
            return true;
        }
        try game.claimTimeout(a, o.id) {
            return true;
        } catch (bytes memory why) {
            refused(why);
            return false;
        }
    }

    function request(uint256 i, address by) private returns (bool) {
        IDisputeGame.Assertion memory a = assertionAt(i);
        vm.deal(by, by.balance + rules.challengerBond);
        vm.prank(by);
        try game.requestInput{value: rules.challengerBond}(a) {
            return true;
        } catch (bytes memory why) {
            refused(why);
            return false;
        }
    }

    function challenge(uint256 i, address by) private {
        IDisputeGame.Assertion memory a = assertionAt(i);
        vm.deal(by, by.balance + rules.challengerBond);
        vm.prank(by);
        try game.challenge{value: rules.challengerBond}(a, bytes32(++salt)) returns (bytes32 dispute) {
            opened.push(Opened(dispute, i, false));
        } catch (bytes memory why) {
            check(by != BOB, "whoever watches is in time");
            refused(why);
        }
    }

    /// @dev Every refusal has a name: no panic, no text, no want of gas.
    function refused(bytes memory why) private {
        bytes4 name = bytes4(why);
        check(why.length >= 4 && name != 0x4e487b71 && name != 0x08c379a0, "no panic, no text");
        check(name != Failed.selector && name != bytes4(keccak256("CheatcodeError(string)")), "by the game");
        ++refusals[name];
    }

    // ---- called by itself, so that a refusal undoes what was prepared -------------------------------------------------

    function revealsAs(uint256 i, bytes32 dispute, uint256 which) external {
        require(msg.sender == address(this));
        reveals(assertionAt(i), dispute, which);
    }

    function picksAs(uint256 i, bytes32 dispute, uint256 whose, bool asked, uint256 what) external {
        require(msg.sender == address(this));
        uint8 height = askedOf(dispute).height;
        if (asked) picksChild(assertionAt(i), dispute, whose, uint8(what % (height == 6 ? 32 : height == 1 ? 2 : 1)));
        else picksOperator(assertionAt(i), dispute, whose, uint32(what % 5));
    }

    function provesAs(uint256 i, bytes32 dispute, uint256 lie) external {
        require(msg.sender == address(this));
        proves(assertionAt(i), dispute, lie);
    }

    function fraudAs(uint256 i, uint256 lie) external {
        require(msg.sender == address(this));
        IDisputeGame.Fraud memory fraud = fraudOf(said[i].which, lie);
        IDisputeGame.Assertion memory a = assertionAt(i);
        vm.prank(CAROL);
        game.proveFraud(a, fraud);
    }
}
