"""An application whose worker requires signatures."""

from __future__ import annotations

from typing import Any

from lavoro import Lavoro

KEYS = ["the key of this year", "the key of last year"]

app = Lavoro("signed", lavoro_signing_keys=KEYS, lavoro_require_signature=True)


@app.task(name="add")
def add(x: int, y: int) -> int:
    return x + y


@app.task(name="again", bind=True)
def again(self: Any, x: int) -> list[Any]:
    """Retry once as it was, once with other arguments, once with another option."""
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    if self.request.retries == 1:
        raise self.retry(args=[x + 1], countdown=0)
    if self.request.retries == 2:
        raise self.retry(countdown=0, headers={"tone": "blue"})
    return [x, self.request.tone, add.delay(x, 1).id]
