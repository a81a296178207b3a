"""The checker: what must be true of every history, as pure functions that know nothing of Lavoro's code."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, pairwise
from typing import NamedTuple

from tests.faults import barriers, keys, resources, ticks
from tests.faults.history import History, Rules, Story, Transition
from tests.faults.ledger import Entry, sha
from tests.faults.violation import Violation

ACCEPTED = frozenset({"SUCCESS", "IGNORED"})
"""States that only a task's own body can have brought about."""
AWAKENING = 2.0
"""Seconds that a process may need to do something after it was frozen."""


class Span(NamedTuple):
    """One start of a task: from its first word to the last that was heard of it."""

    start: Entry
    until: float


def spans(story: Story) -> list[Span]:
    """The starts of a task, in the order in which they began."""
    found = [Span(start, story.last_sign[start.token or ""]) for start in story.starts]
    return sorted(found, key=lambda span: span.start.mono)


def outcome(story: Story) -> str:
    """What the producer knows: ok, fail, rolled back, or unknown, also when it died before it could say."""
    return story.outcomes[-1]["outcome"] if story.outcomes else "unknown"


# Of one task


def no_loss(story: Story, rules: Rules) -> Iterator[str]:
    """I1: what was stored is over at the end, or still there; over as it was meant to be."""
    if not story.intents:
        return
    expected = story.intents[0].detail.get("expect")
    gone = story.id in rules.lost_commits or expected == []
    if outcome(story) == "ok" and not story.done and not story.live and not gone:
        yield "was stored, and is nowhere"
    for done in story.done:
        if expected and done.state not in expected:
            yield f"ended as {done.state}, not as {' or '.join(expected)}"
    for live in story.live:
        if rules.drained:
            yield f"is still {live.room} (attempt {live.attempt}, due in {live.due_in:.1f} s)"


def no_phantom(story: Story, rules: Rules) -> Iterator[str]:
    """I2: what runs was sent, and its transaction committed."""
    if not (story.starts or story.done or story.live):
        return
    if story.ticked:
        return
    if not story.intents:
        yield "nobody has sent it"
    elif outcome(story) not in ("ok", "unknown"):
        yield f"exists though sending it ended as {outcome(story)!r}"


def fencing(story: Story, rules: Rules) -> Iterator[str]:
    """I3: at most one outcome is accepted, and it is that of the start which then held the task."""
    moves = Counter((t.room, t.verb) for t in story.transitions)
    accepted = moves["finished", "I"] - moves["finished", "D"]  # a replay takes the outcome back
    if len(story.done) > 1 or accepted > 1:
        yield f"has {max(len(story.done), accepted)} accepted outcomes"
    for done in story.done:
        if done.state in ACCEPTED:
            token = done.result.get("token") if isinstance(done.result, dict) else None
            start = next((start for start in story.starts if start.token == token), None)
            if start is None:
                yield f"its outcome {done.state} is of no start that was witnessed"
            elif start.attempt != done.attempt:
                yield f"the outcome of start {start.attempt} was accepted as that of start {done.attempt}"
            elif not _ran_it(story, start, done.worker_id):
                yield f"the outcome of another worker's start {start.attempt} was accepted as that of {done.worker_id}"
            elif token not in story.ends:
                yield f"its outcome {done.state} was accepted before start {start.attempt} had ended"


def _ran_it(story: Story, start: Entry, worker_id: int | None) -> bool:
    if "worker" in start.detail:
        return bool(start["worker"] == worker_id)
    return worker_id not in story.pids or story.pids[worker_id] == start.pid


def accounted_starts(story: Story, rules: Rules) -> Iterator[str]:
    """I4: every start but the accepted one has its record, and there are no more starts than claims."""
    taken_back = _taken_back(story)
    recorded = Counter(row.attempt for row in story.attempts) + taken_back
    recorded.update(done.attempt for done in story.done)
    recorded.update(live.attempt for live in story.live if live.room == "running")
    for attempt, count in Counter(start.attempt or 0 for start in story.starts).items():
        if count > recorded[attempt]:
            yield f"start {attempt} happened {count} times, {recorded[attempt]} are recorded"
    if taken_back and story.starts and not rules.orderly and len(story.starts) > sum((recorded - taken_back).values()):
        yield f"starts were taken back uncounted though nobody stopped a worker: {dict(taken_back)}"
    if rules.fault_free and story.intents and len(story.starts) > 1 + story.intents[0].detail.get("fail_times", 0):
        yield f"started {len(story.starts)} times in a run without faults"


def _taken_back(story: Story) -> Counter[int]:
    """How often each start went back as if it had never been."""
    held: dict[int, int] = {}
    found: Counter[int] = Counter()
    for _, group in groupby(story.transitions, key=lambda t: t.tx):
        moves = {(t.room, t.verb): t for t in group}
        left, came = moves.get(("running", "D")), moves.get(("waiting", "I"))
        if left is not None and came is not None and came.attempt == left.attempt - 1:
            held[left.attempt] = held.get(left.attempt, 0) + 1
    found.update(held)
    return found


def attempt_bounds(story: Story, rules: Rules) -> Iterator[str]:
    """I6: retries and crashes have their limits, and what kills its worker ends."""
    intent = story.intents[0].detail if story.intents else {}
    for done in story.done:
        if done.crashes > rules.max_crashes:
            yield f"was running in {done.crashes} crashes, {rules.max_crashes} are allowed"
        if "max_retries" in intent and done.retries > intent["max_retries"]:
            yield f"was tried again {done.retries} times, {intent['max_retries']} are allowed"
    if intent.get("poison") and len(story.starts) > rules.max_crashes:
        yield f"killed its worker {len(story.starts)} times, {rules.max_crashes} are allowed"


_STEPS: dict[frozenset[tuple[str, str]], str] = {
    frozenset({("waiting", "I")}): "sent",
    frozenset({("running", "I")}): "assigned",
    frozenset({("waiting", "D"), ("running", "I")}): "claimed",
    frozenset({("running", "D"), ("finished", "I")}): "finished",
    frozenset({("running", "D"), ("waiting", "I")}): "requeued",
    frozenset({("waiting", "D"), ("finished", "I")}): "revoked",
    frozenset({("finished", "D"), ("waiting", "I")}): "replayed",
    frozenset({("running", "U")}): "marked",
    frozenset({("waiting", "U")}): "postponed",
    frozenset({("finished", "D")}): "forgotten",
    frozenset({("waiting", "D")}): "purged",
    frozenset({("held", "D")}): "purged while it was held",
    frozenset({("waiting", "I"), ("waiting", "U")}): "sent",
    frozenset({("held", "I")}): "held back",
    frozenset({("held", "I"), ("held", "U")}): "held back",
    frozenset({("held", "U")}): "marked while it was held",
    frozenset({("waiting", "D"), ("held", "I")}): "held by a limit",
    frozenset({("held", "D"), ("waiting", "I")}): "released",
    frozenset({("held", "D"), ("running", "I")}): "released and assigned",
    frozenset({("held", "D"), ("finished", "I")}): "ended while it was held",
    frozenset({("running", "D"), ("held", "I")}): "replaced by a held one",
    frozenset({("finished", "I")}): "given up",
    # Blockers that had ended before count at once.
    frozenset({("held", "I"), ("held", "D"), ("waiting", "I")}): "sent past its barrier",
    frozenset({("held", "I"), ("held", "D"), ("running", "I")}): "assigned past its barrier",
    frozenset({("held", "I"), ("held", "D"), ("finished", "I")}): "given up",
    # The same of a task that another one of its transaction waits for, as ticks that are caught up do.
    frozenset({("held", "I"), ("held", "U"), ("held", "D"), ("waiting", "I")}): "sent past its barrier",
    frozenset({("held", "I"), ("held", "U"), ("held", "D"), ("running", "I")}): "assigned past its barrier",
}
_FROM = {
    "sent": "nowhere", "assigned": "nowhere", "claimed": "waiting", "finished": "running", "requeued": "running",
    "revoked": "waiting", "marked": "running", "postponed": "waiting", "forgotten": "finished",
    "purged": "waiting", "purged while it was held": "held", "held back": "nowhere",
    "held by a limit": "waiting",
    "marked while it was held": "held", "released": "held", "released and assigned": "held",
    "ended while it was held": "held", "replaced by a held one": "running", "given up": "nowhere",
    "sent past its barrier": "nowhere", "assigned past its barrier": "nowhere", "replayed": "finished",
}  # fmt: skip
_TO = {
    "sent": "waiting", "assigned": "running", "claimed": "running", "finished": "finished", "requeued": "waiting",
    "revoked": "finished", "marked": "running", "postponed": "waiting", "forgotten": "nowhere",
    "purged": "nowhere", "purged while it was held": "nowhere", "held back": "held",
    "held by a limit": "held",
    "marked while it was held": "held", "released": "waiting", "released and assigned": "running",
    "ended while it was held": "finished", "replaced by a held one": "held", "given up": "finished",
    "sent past its barrier": "waiting", "assigned past its barrier": "running", "replayed": "waiting",
}  # fmt: skip


def legal_steps(story: Story, rules: Rules) -> Iterator[str]:
    """I7: a task moves only as the four tables allow, and each claim counts one start."""
    room, attempt = "nowhere", 0
    for _, group in groupby(story.transitions, key=lambda t: t.tx):
        moves = list(group)
        kinds = frozenset((move.room, move.verb) for move in moves)
        step = _STEPS.get(kinds)
        if step is None or len(moves) > max(2, len(kinds)):
            yield "an illegal step: " + ", ".join(f"{move.verb} {move.room}" for move in moves)
            return
        if step.startswith("purged") and (not story.intents or story.intents[0].detail.get("expect") != []):
            yield f"was {step} though nobody deletes it"
        if _FROM[step] != room:
            yield f"was {step} while {room}"
        yield from _counted(step, attempt, moves)
        room = _TO[step]
        attempt = max(move.attempt for move in moves if move.verb != "D") if room != "nowhere" else 0
    found = story.done or story.live
    if story.transitions and bool(found) != (room != "nowhere"):
        yield f"should be {room}, and is {'there' if found else 'nowhere'}"


def _counted(step: str, before: int, moves: list[Transition]) -> Iterator[str]:
    after = {move.attempt for move in moves if move.verb == "I"}
    allowed = {
        "assigned": {1},
        "released and assigned": {1},
        "assigned past its barrier": {0, 1},
        "claimed": {before + 1},
        "requeued": {before, before - 1},
    }.get(step, {before})
    if after - allowed:
        yield f"was {step} with attempt {max(after)} after attempt {before}"


def integrity(story: Story, rules: Rules) -> Iterator[str]:
    """I14: arguments arrive as they were sent, results as they were returned."""
    if not story.intents:
        return
    sent = story.intents[0].detail.get("sha")
    for start in story.starts:
        if sent and start.detail.get("sha") not in (None, sent):
            yield f"start {start.attempt} got other arguments than were sent"
    for done in story.done:
        if done.state == "SUCCESS" and isinstance(done.result, dict):
            end = story.ends.get(done.result.get("token", ""))
            if end is not None and "sha" in end.detail and done.result.get("sha") != end["sha"]:
                yield "the stored result is not what the task returned"
            if "payload" in done.result and sha(done.result["payload"]) != done.result.get("sha"):
                yield "the stored result has changed since the task returned it"


def visibility(story: Story, rules: Rules) -> Iterator[str]:
    """I15: a start that was lost says why, in the table and in a log: the end of its process, and what it had begun."""
    for row in story.attempts:
        if row.state == "LOST" and not row.reason:
            yield f"the loss of start {row.attempt} has no reason"
        elif row.state == "LOST" and not all(part in (rules.logs or part) for part in row.reason.split("; it")):
            yield f"nothing in the log says {row.reason!r}"


# Of the whole run


def recovery(history: History) -> Iterator[Violation]:
    """I8: what had to begin within some time did."""
    starts: dict[str | None, list[float]] = defaultdict(list)
    for entry in history.of_kind("start"):
        starts[entry.id].append(entry.mono)
        starts[None].append(entry.mono)
    for promise in history.of_kind("promise"):
        times = starts[promise.id]
        place = bisect_left(times, promise.mono)
        late = times[place] - promise.mono if place < len(times) else None
        if late is None or late > promise["within"]:
            when = "never" if late is None else f"after {late:.2f} s"
            yield Violation("I8", f"{promise['why']}: began {when}, {promise['within']} s were promised", promise.id)


def no_overlap(history: History) -> Iterator[Violation]:
    """I5: no two starts of a task at the same time, except where nobody could have hindered one: it was frozen."""
    frozen = _frozen(history)
    for story in history.stories().values():
        lost = {row.attempt for row in story.attempts if row.state == "LOST"}
        for earlier, later in pairwise(spans(story)):
            moment = later.start.mono
            helpless = any(
                span.start.attempt in lost and any(since < moment < until for since, until in frozen[span.start.pid])
                for span in (earlier, later)  # the later one was claimed, then frozen, and begun when it was too late
            )
            if moment < earlier.until and not helpless:
                yield Violation(
                    "I5",
                    f"start {later.start.attempt} began {earlier.until - moment:.3f} s before the last sign of start"
                    f" {earlier.start.attempt}"
                    f" ({'its lease was lost' if earlier.start.attempt in lost else 'its lease was not lost'})",
                    story.id,
                )


def _frozen(history: History) -> dict[int, list[tuple[float, float]]]:
    """When each process could do nothing, and a moment more: in which it learns what it has missed."""
    windows: dict[int, list[tuple[float, float]]] = defaultdict(list)
    since: dict[int, float] = {}
    for entry in history.of_kind("frozen", "thawed"):
        for pid in entry["pids"]:
            if entry.kind == "frozen":
                since[pid] = entry.mono
            elif pid in since:
                windows[pid].append((since.pop(pid), entry.mono + AWAKENING))
    return windows


def limits(history: History) -> Iterator[Violation]:
    """I11: no process runs more tasks at a time than it has slots."""
    if history.rules.slots is None:
        return
    edges: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for story in history.stories().values():
        for span in spans(story):
            edges[span.start.pid] += [(span.start.mono, 1), (span.until, -1)]
    for pid, moments in edges.items():
        running = most = 0
        for _, change in sorted(moments):
            running += change
            most = max(most, running)
        if most > history.rules.slots:
            yield Violation("I11", f"process {pid} ran {most} tasks at a time, it has {history.rules.slots} slots")


PER_TASK: dict[str, Callable[[Story, Rules], Iterable[str]]] = {
    "I1": no_loss,
    "I2": no_phantom,
    "I3": fencing,
    "I4": accounted_starts,
    "I6": attempt_bounds,
    "I7": legal_steps,
    "I14": integrity,
    "I15": visibility,
}
PER_RUN: dict[str, Callable[[History], Iterable[Violation]]] = {
    "I5": no_overlap,
    "I8": recovery,
    "I9": ticks.kept,
    "I10": barriers.kept,
    "I11": limits,
    "I12": resources.bounded,
    "I13": resources.no_busy_loop,
    "I16": keys.kept,
}


def check(history: History) -> list[Violation]:
    """Everything that is wrong with a history."""
    found = [
        Violation(name, what, story.id)
        for story in history.stories().values()
        for name, rule in PER_TASK.items()
        for what in rule(story, history.rules)
    ]
    return found + [violation for rule in PER_RUN.values() for violation in rule(history)]


def rejected_ends(history: History) -> int:
    """How many starts ended after their outcome could no longer be accepted."""
    accepted = {done.result.get("token") for done in history.done if isinstance(done.result, dict)}
    return sum(1 for entry in history.of_kind("end") if entry["outcome"] == "SUCCESS" and entry.token not in accepted)
