"""Children of tasks: `request.children`, `AsyncResult.children` and `parent`, `trail=False`."""

from celery import Celery
from record import attempt, say

app = Celery("tasks_trail")
GET = {"timeout": 30}


@app.task
def child():
    return "child"


@app.task(bind=True)
def parent(self):
    one = child.apply_async(task_id="one")
    two = child.apply_async(task_id="two", add_to_parent=False)
    say("parent.children", [each.id for each in self.request.children])
    say("parents of results", (one.parent, two.parent))


@app.task(bind=True, trail=False)
def without(self):
    child.apply_async(task_id="three")
    say("without.children", self.request.children)


@app.task(bind=True)
def by_name(self):
    app.send_task("tasks_trail.child", task_id="four")
    say("by_name.children", [each.id for each in self.request.children])


def main():
    result = parent.apply_async(task_id="parent")
    result.get(**GET)
    attempt("children", lambda: [each.id for each in result.children])
    attempt("parent", lambda: result.parent)
    result = without.apply_async(task_id="without")
    result.get(**GET)
    attempt("without.children", lambda: result.children)
    result = by_name.apply_async(task_id="by_name")
    result.get(**GET)
    attempt("by_name.children", lambda: [each.id for each in result.children])
    attempt("result of child", lambda: app.AsyncResult("one").get(**GET))
    attempt("as_tuple", lambda: result.as_tuple())
