"""I16: no more tasks of a key run at the same time than its limit says, and none is held while there is room."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.faults.history import History, Story
from tests.faults.violation import Violation


def kept(history: History) -> Iterator[Violation]:
    """Look at each key that senders have named in ``limits``, with the number that may run."""
    for key, (most, stories) in _by_key(history).items():
        running = 0
        for at, step, id in sorted(_steps(stories)):
            running += step
            if running > most:
                yield Violation("I16", f"is one of {running} that run at {at:.3f} by {key}, {most} may", id)
                break
        runs = [story for story in stories if any(live.room == "running" for live in story.live)]
        held = [story for story in stories if any(live.room == "held" for live in story.live)]
        if held and len(runs) < most:
            yield Violation("I16", f"is held by {key}, of whose {most} slots {len(runs)} are taken", held[0].id)


def _by_key(history: History) -> dict[str, tuple[int, list[Story]]]:
    found: defaultdict[str, tuple[int, list[Story]]] = defaultdict(lambda: (0, []))
    for story in list(history.stories().values()):
        for key, most in (story.intents[0].detail.get("limits", {}) if story.intents else {}).items():
            found[key] = (most, [*found[key][1], story])
    return dict(found)


def _steps(stories: list[Story]) -> Iterator[tuple[float, int, str]]:
    """Each start and each last sign of one; at one moment, ends come first."""
    for story in stories:
        for start in story.starts:
            yield start.mono, 1, story.id
            yield story.last_sign[start.token or ""], -1, story.id
