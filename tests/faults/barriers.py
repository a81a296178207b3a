"""I10: a task that waits for others starts once they have succeeded, not before, and never if one has failed."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.history import History, Story, Transition
from tests.faults.violation import Violation


def kept(history: History) -> Iterator[Violation]:
    """Look at each task whose sender has said what it ``awaits``: the ids of its members."""
    stories = history.stories()
    for story in list(stories.values()):
        if story.intents and (ids := story.intents[0].detail.get("awaits")) is not None:
            members = [stories.get(id) or Story(id) for id in ids]
            for what in _wrong(story, members):
                yield Violation("I10", what, story.id)


def _wrong(story: Story, members: list[Story]) -> Iterator[str]:
    begun = {t.tx for t in story.transitions if (t.room, t.verb) in (("waiting", "I"), ("running", "I"))}
    released = [t for t in story.transitions if (t.room, t.verb) == ("held", "D") and t.tx in begun]
    left = [member for member in members if member.live]
    failed = [member.id for member in members if not member.live and not _succeeded(member)]
    if len(released) > 1:
        yield f"was released {len(released)} times"
    if released and not failed:
        yield from (f"was released before its member {m.id} had ended" for m in members if not _over(m, released[0]))
    if (story.starts or any(t.room == "running" for t in story.transitions)) and failed:
        yield f"started though its member {failed[0]} had failed"
    if not left and any(live.room == "held" for live in story.live):
        yield "is still held though all of its members have ended"


def _succeeded(member: Story) -> bool:
    return any(done.state == "SUCCESS" for done in member.done)


def _over(member: Story, release: Transition) -> bool:
    """Whether the member had ended when the task was released: in that transaction, or in one that wrote before.

    The order of numbers of transactions says nothing: a number is given at the first write, and a later one can commit
    first. The release waits for the barrier's row, so all that was counted before has written before.
    """
    ends = (t for t in member.transitions if (t.room, t.verb) == ("finished", "I"))
    return any(end.tx == release.tx or end.seq < release.seq for end in ends)
