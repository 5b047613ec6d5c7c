"""Who proves what: processes that hold keys, made where there is room, given jobs, replaced when they are lost.

Ray restarts a process that dies and gives it its job again, `RESTARTS` times. A node that is gone is not waited for:
the jobs it had go to others. Either way a job is begun a bounded number of times, and then fails with a reason.

One thread drives it all, by calling `poll`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from vml.errors import ProvingError
from vml.ray.answers import LONGEST, NO_ANSWER, Ended, read, rebuilt
from vml.ray.cluster import Cluster, Need, Node
from vml.ray.holder import Failure, KeyHolder
from vml.ray.kit import Kit

RESTARTS = 2
"""How often Ray starts a dead process again, and gives it the job that it died with."""
TRIES = 2
"""How often a job whose process died for good is given to another one."""
MOVES = 10
"""How often a job survives the loss of its node."""
BROKEN_STARTS = 3
"""After so many processes that could not load a kit, no more are made."""
STATUS_S, NODES_S = 0.5, 1.0

Inputs = Mapping[str, Any] | Sequence[Mapping[str, Any]]


@dataclass
class Task:
    """One proof to be made.

    Args:
        id: the caller's name for it.
        kit: name of the kit to prove with.
        inputs: one row, or several for one proof.
        context: 32 bytes.
    """

    id: str
    kit: str
    inputs: Inputs = field(repr=False)
    context: bytes
    deaths: int = 0
    moves: int = 0


@dataclass(eq=False)
class _Hand:
    """One process."""

    actor: Any
    kit: str
    ready: Any  # reference of the answer; None once it came
    node: str = ""
    task: Task | None = None
    result: Any = None
    status: Any = None
    told: tuple[str, float] = ("starting", 0.0)
    used_at: float = 0.0


@dataclass(eq=False)
class _Held:
    """A kit, where it lies, what it needs, and how often it could not be loaded."""

    reference: Any
    need: Need
    broken: int = 0
    failure: Failure | None = None


class Crew:
    """The processes of one caller.

    Args:
        cluster: connected.
        holder: class of the processes.
    """

    def __init__(self, cluster: Cluster, holder: type = KeyHolder) -> None:
        self._cluster, self._ray = cluster, cluster.ray
        self._holder = cluster.ray.remote(holder)
        self._kits: dict[str, _Held] = {}
        self._waiting: deque[Task] = deque()
        self._hands: list[_Hand] = []
        self._ended: list[Ended] = []
        self._nodes: tuple[Node, ...] = ()
        self._looked_at = self._asked_at = float("-inf")

    def add(self, kit: Kit, need: Need) -> None:
        """Make a kit known; once is enough.

        Raises:
            ProvingError: no node could ever hold a process with it.
        """
        self._cluster.require_room(need)
        if kit.name not in self._kits:
            self._kits[kit.name] = _Held(self._ray.put(kit), need)

    def has(self, kit: str) -> bool:
        """Whether a kit of this name is known."""
        return kit in self._kits

    def submit(self, task: Task) -> None:
        """Have a task done when there is room; `poll` says how it ended. Its kit is known."""
        if task.kit not in self._kits:
            raise ValueError(f"no kit {task.kit}")
        self._waiting.append(task)

    @property
    def pending(self) -> int:
        """Tasks that wait or run."""
        return len(self._waiting) + sum(hand.task is not None for hand in self._hands)

    @property
    def waiting(self) -> int:
        """Tasks that nobody works on."""
        return len(self._waiting)

    def slots(self, need: Need) -> int:
        """How many such proofs the living nodes hold at a time."""
        self._look(time.monotonic())
        return sum(node.holds(need) for node in self._nodes)

    def progress(self) -> dict[str, tuple[str, float, str]]:
        """Of every running task: stage, fraction, node."""
        return {hand.task.id: (*hand.told, hand.node) for hand in self._hands if hand.task is not None}

    def describe(self) -> dict[str, Any]:
        """Nodes, processes and tasks, as numbers."""
        return {
            "nodes": len(self._nodes),
            "processes": len(self._hands),
            "busy": sum(hand.task is not None for hand in self._hands),
            "waiting": len(self._waiting),
        }

    def cancel(self, id: str) -> None:
        """Drop a task, with the process that works on it; `poll` never speaks of it again."""
        self._waiting = deque(task for task in self._waiting if task.id != id)
        for hand in [hand for hand in self._hands if hand.task is not None and hand.task.id == id]:
            self._dismiss(hand)

    def close(self) -> None:
        """Stop every process. Tasks that run are lost."""
        for hand in list(self._hands):
            self._dismiss(hand)

    def poll(self, timeout_s: float) -> list[Ended]:
        """Drive everything for a while.

        Args:
            timeout_s: longest wait for something to happen.

        Returns:
            The tasks that ended, each once.

        Raises:
            ProvingError: the cluster is gone.
        """
        try:
            return self._poll(timeout_s)
        except (OSError, RuntimeError, self._ray.exceptions.RayError) as error:
            self._cluster.lost = True
            raise ProvingError(f"the Ray cluster does not answer any more: {error}") from error

    def _poll(self, timeout_s: float) -> list[Ended]:
        now = time.monotonic()
        self._look(now)
        self._assign(now)
        self._ask(now)
        watched = {hand.ready: hand for hand in self._hands if hand.ready is not None}
        watched |= {hand.result: hand for hand in self._hands if hand.result is not None}
        if not watched:
            time.sleep(timeout_s if not self._ended else 0)
        else:
            done, _ = self._ray.wait(list(watched), num_returns=len(watched), timeout=0 if self._ended else 0.001)
            if not done and not self._ended:
                done, _ = self._ray.wait(list(watched), num_returns=1, timeout=timeout_s)
            for reference in done:
                self._take(watched[reference], reference)
            self._assign(time.monotonic())
        ended, self._ended = self._ended, []
        return ended

    def _take(self, hand: _Hand, reference: Any) -> None:
        """One answer of a process, or the news that there will be none."""
        if hand not in self._hands:
            return
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._bury(hand, error)
            return
        if reference == hand.ready:  # through a client it is an equal one, not the same
            hand.ready = None
            said = read("", hand.node, answer, with_proof=False)
            hand.node = said.node
            if said.error is not None:
                self._reject(hand, (type(said.error).__name__, str(said.error)))
            return
        task, hand.task, hand.result, hand.used_at = hand.task, None, None, time.monotonic()
        hand.told = ("waiting", 0.0)
        if task is not None:
            said = read(task.id, hand.node, answer)
            hand.node = said.node
            self._ended.append(said)

    def _bury(self, hand: _Hand, error: Exception) -> None:
        """A process died, after all restarts. Its task is tried elsewhere, unless it is what kills them."""
        task = hand.task
        reason = str(error).strip().splitlines()
        why = next((line.strip() for line in reason if line.strip()), type(error).__name__)
        if hand.ready is not None and task is None:
            self._reject(hand, ("ProvingError", f"the process ended while it loaded the keys: {why}"))
            return
        self._dismiss(hand)
        if task is None:
            return
        task.deaths += 1
        if task.deaths < TRIES:
            self._waiting.appendleft(task)
            return
        message = f"every process that worked on it died, {TRIES} of them for good (was memory short?): {why}"
        self._ended.append(Ended(task.id, hand.node, error=ProvingError(message)))

    def _reject(self, hand: _Hand, failure: Failure) -> None:
        """A process that cannot load its kit is of no use; neither are more of them, after a while."""
        held = self._kits[hand.kit]
        held.broken += 1
        held.failure = failure
        self._dismiss(hand)

    def _dismiss(self, hand: _Hand) -> None:
        if hand in self._hands:
            self._hands.remove(hand)
        if self._cluster.lost:
            return
        with suppress(Exception):  # it may be gone, and with it the way to tell
            self._ray.kill(hand.actor, no_restart=True)

    def _look(self, now: float) -> None:
        """Which nodes live; what a lost one had to do goes to others."""
        if now - self._looked_at < NODES_S:
            return
        self._looked_at, self._nodes = now, self._cluster.nodes()
        living = {node.id for node in self._nodes}
        for hand in [hand for hand in self._hands if hand.node and hand.node not in living]:
            task = hand.task
            self._dismiss(hand)
            if task is None:
                continue
            task.moves += 1
            if task.moves <= MOVES:
                self._waiting.appendleft(task)
            else:
                self._ended.append(Ended(task.id, hand.node, error=ProvingError(f"{MOVES} nodes were lost with it")))

    def _ask(self, now: float) -> None:
        """How far the processes are; who has not answered is not asked again."""
        asked = {hand.status: hand for hand in self._hands if hand.status is not None}
        if asked:
            done, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=0)
            for reference in done:
                hand = asked[reference]
                hand.status = None
                # What is no answer says nothing, and the proof may come all the same.
                with suppress(self._ray.exceptions.RayError, *NO_ANSWER):
                    answer = self._ray.get(reference)
                    told = str(answer["stage"])[:LONGEST], min(1.0, max(0.0, float(answer["fraction"])))
                    hand.node = str(answer["node"])[:LONGEST]
                    if hand.task is not None:
                        hand.told = told
        if now - self._asked_at < STATUS_S:
            return
        self._asked_at = now
        for hand in self._hands:
            if hand.task is not None and hand.status is None:
                hand.status = hand.actor.status.remote()

    def _assign(self, now: float) -> None:
        """Give waiting tasks to processes that hold their keys, and make processes where there is room."""
        left: deque[Task] = deque()
        for task in self._waiting:
            hand = next((h for h in self._hands if h.kit == task.kit and h.ready is None and h.task is None), None)
            if hand is None:
                left.append(task)
                continue
            hand.task, hand.used_at, hand.told = task, now, ("waiting", 0.0)
            hand.result = hand.actor.prove.remote(self._kits[task.kit].reference, task.inputs, task.context)
        self._waiting = left
        wanted: dict[str, int] = {}
        for task in left:
            wanted[task.kit] = wanted.get(task.kit, 0) + 1
        for kit, count in wanted.items():
            held = self._kits[kit]
            serving = [hand for hand in self._hands if hand.kit == kit]
            starting = sum(hand.ready is not None for hand in serving)
            if held.broken >= BROKEN_STARTS and held.failure is not None:
                if not serving:
                    self._give_up(kit, held.failure)
                continue
            for _ in range(count - starting):
                if not self._make_room(held.need, wanted):
                    break
                self._start(kit, held)

    def _give_up(self, kit: str, failure: Failure) -> None:
        for task in [task for task in self._waiting if task.kit == kit]:
            self._ended.append(Ended(task.id, "", error=rebuilt(failure)))
        self._waiting = deque(task for task in self._waiting if task.kit != kit)
        # Whoever asks again may find other nodes.
        self._kits[kit].broken = 0

    def _make_room(self, need: Need, wanted: Mapping[str, int]) -> bool:
        """Whether one more process fits beside the others, after dismissing one that nobody waits for."""
        if self._fits(need, self._hands):
            return True
        idle = [hand for hand in self._hands if hand.task is None and hand.ready is None and hand.kit not in wanted]
        for hand in sorted(idle, key=lambda hand: hand.used_at):
            if self._fits(need, [other for other in self._hands if other is not hand]):
                self._dismiss(hand)
                return True
        return False

    def _fits(self, need: Need, hands: Sequence[_Hand]) -> bool:
        """Own processes are counted by what they asked for; what others use, Ray knows, and makes ours wait."""
        left = {node.id: node for node in self._nodes}
        unplaced = []
        for hand in hands:
            taken = self._kits[hand.kit].need
            if hand.node in left:
                left[hand.node] = left[hand.node].without(taken)
            else:
                unplaced.append(taken)
        for taken in [*unplaced, need]:
            # The emptiest first: Ray is asked to spread them.
            place = max(left.values(), key=lambda node: node.holds(taken), default=None)
            if place is None or place.holds(taken) < 1:
                return False
            left[place.id] = place.without(taken)
        return True

    def _start(self, kit: str, held: _Held) -> None:
        options = {
            "num_cpus": held.need.cpus,
            "memory": held.need.memory_bytes,
            "max_restarts": RESTARTS,
            "max_task_retries": RESTARTS,
            "max_concurrency": 2,
            "scheduling_strategy": "SPREAD",
        }
        actor = self._holder.options(**options).remote(held.need.cpus)
        self._hands.append(_Hand(actor, kit, actor.ready.remote(held.reference), used_at=time.monotonic()))
