"""Sends the tasks, and prints what becomes of them."""

import json
import time

from bakery import celery_app
from bakery.oven.tasks import bake, clean, glaze, mix, proof, taste
from bakery.till.tasks import count, sell, write

from lavoro import AsyncResult, chain, states
from lavoro.exceptions import TimeoutError


def shown(result):
    """Return the state, and the value or the class and the words of the error."""
    value = result.get(timeout=60, propagate=False)
    return [result.state, [type(value).__name__, str(value)] if isinstance(value, BaseException) else value]


def waited(result, state):
    """Wait until the result has a state."""
    until = time.monotonic() + 60
    while result.state != state and time.monotonic() < until:
        time.sleep(0.02)
    return [result.state, result.info]


conf = celery_app.conf
sent = {
    "mix": mix.delay("flour", "water"),
    "bake": bake.delay("dough"),
    "burnt": bake.delay("dough", degrees=300),
    "glaze": glaze.delay(),
    "proof": proof.delay(30),
    "sell": sell.delay("bread", number=2),
    "unknown": sell.apply_async(args=["cake"]),
    "count": count.delay("till 2"),
    "debug": celery_app.tasks["bakery.celery.debug_task"].delay(),
    "line": (mix.s("rye", "water") | bake.s(degrees=200) | write.s(where="shelf")).delay(),
    "chain": chain(count.si("till 1"), write.s())(),
}
called = mix.apply_async(("a", "b"), link=write.s(where="book"))
clean.delay()
answers = {name: shown(result) for name, result in sent.items()}
answers["linked"] = [called.get(timeout=60), *(child.get(timeout=60) for child in called.children)]
answers["taste"] = waited(AsyncResult(taste.delay("rye").id), "TASTED")
answers["again"] = AsyncResult(sent["mix"].id).get(timeout=60)
answers["parents"] = [sent["line"].parent.get(), sent["line"].parent.parent.get(), sent["chain"].parent.get()]
answers["settings"] = [conf.task_default_queue, conf["CELERY_DEFAULT_QUEUE"], str(conf.result_expires)]
answers["settings"] += [conf.task_soft_time_limit, conf.timezone, sorted(conf.beat_schedule), celery_app.sold]
try:
    AsyncResult("nobody-has-sent-it").get(timeout=0.1)
except TimeoutError:
    answers["unsent"] = AsyncResult("nobody-has-sent-it").state == states.PENDING
print(json.dumps(answers))
