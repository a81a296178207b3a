"""`pydantic=True`: models as arguments and as results."""

from celery import Celery
from pydantic import BaseModel
from record import attempt, say

app = Celery("tasks_pydantic")
GET = {"timeout": 30}


class Order(BaseModel):
    number: int
    note: str = "none"


class Answer(BaseModel):
    total: int


@app.task(pydantic=True)
def model(order: Order) -> Answer:
    say("model", (type(order).__name__, order.number, order.note))
    return Answer(total=order.number * 2)


@app.task(pydantic=True, bind=True)
def bound(self, order: Order, times: int = 2) -> Answer:
    say("bound", (type(order).__name__, times, type(self.request.args).__name__))
    return Answer(total=order.number * times)


@app.task(pydantic=True)
def optional(order: Order | None = None) -> Answer | None:
    say("optional", type(order).__name__)
    return None if order is None else Answer(total=order.number)


@app.task(pydantic=True)
def plain(x: int, y) -> int:
    say("plain", (x, y))
    return x


@app.task(pydantic=True)
def wrong_result(x: int) -> Answer:
    return {"total": x}


@app.task(pydantic=True, pydantic_dump_kwargs={"exclude": {"note"}})
def dumped(order: Order) -> Order:
    return order


def main():
    for label, task, args, kwargs in [
        ("model by dict", model, ({"number": 3},), {}),
        ("model by keyword", model, (), {"order": {"number": "4", "note": "x"}}),
        ("model wrong", model, ({"number": "no"},), {}),
        ("model missing", model, ({},), {}),
        ("bound", bound, ({"number": 3},), {"times": 5}),
        ("optional none", optional, (), {}),
        ("optional given", optional, ({"number": 1},), {}),
        ("plain", plain, (1, "2"), {}),
        ("plain text", plain, ("1", 2), {}),
        ("wrong result", wrong_result, (1,), {}),
        ("dumped", dumped, ({"number": 1, "note": "hidden"},), {}),
    ]:
        result = task.apply_async(args, kwargs, task_id=label)
        try:
            say(f"{label}.get", result.get(**GET))
        except Exception as error:
            say(f"{label}.get", type(error).__name__)
        say(f"{label}.state", result.state)
    attempt("direct", lambda: model(Order(number=1)))
    attempt("direct dict", lambda: model({"number": 1}))
    attempt("eager", lambda: model.apply(({"number": 1},)).get())
    attempt("model as argument", lambda: type(model.delay(Order(number=5))).__name__)
