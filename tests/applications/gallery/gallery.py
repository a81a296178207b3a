"""A site in the pattern of older guides: one module, its whole configuration given to the tasks' application."""

import logging
import random

from flask import Flask, current_app, jsonify, request, url_for

from lavoro import Celery
from lavoro.exceptions import Ignore

app = Flask(__name__)
app.config["SECRET_KEY"] = "not for a real site"
app.config["MAIL_SENDER"] = "gallery@example.org"
app.config["UPLOADS"] = ("jpg", "png")
app.config["CELERY_BROKER_URL"] = "redis://localhost:6379/0"
app.config["CELERY_RESULT_BACKEND"] = "redis://localhost:6379/0"
app.config.from_prefixed_env()

celery = Celery(app.name, broker=app.config["CELERY_BROKER_URL"], backend=app.config["CELERY_RESULT_BACKEND"])
celery.conf.update(app.config)


@celery.task
def mail(message):
    """Send a message from the address that the site's configuration has."""
    logging.getLogger("gallery.mail").warning("from %s: %s", current_app.config["MAIL_SENDER"], message["subject"])


@celery.task(bind=True)
def develop(self, total):
    """Take some steps, and tell of each."""
    for step in range(total):
        status = random.choice(["Cutting", "Scaling", "Storing"])
        self.update_state(state="PROGRESS", meta={"current": step, "total": total, "status": status})
    return {"current": total, "total": total, "status": "Task completed!", "result": 42}


@celery.task(bind=True)
def refuse(self, name):
    """Give a state of its own, and leave it."""
    self.update_state(state="REFUSED", meta={"name": name, "allowed": list(current_app.config["UPLOADS"])})
    raise Ignore()


@celery.task
def crop(width):
    """Fail where the width is wrong."""
    return 100 // width


class ContextTask(celery.Task):
    """A task in the context of the site."""

    def __call__(self, *args, **kwargs):
        with app.app_context():
            return self.run(*args, **kwargs)


celery.Task = ContextTask


@celery.task(name="gallery.count")
def count():
    """Run in the context too, though defined after the class."""
    return len(current_app.config["UPLOADS"])


@app.post("/mail")
def send_mail():
    """Send now, or in a moment."""
    message = {"subject": request.form["subject"]}
    sent = mail.delay(message) if request.form["when"] == "now" else mail.apply_async(args=[message], countdown=0.2)
    return jsonify({"id": sent.id})


@app.post("/develop/<int:total>")
def start_development(total):
    """Start, and tell where to ask."""
    task = develop.apply_async(args=[total])
    return jsonify({}), 202, {"Location": url_for("status", name="develop", task_id=task.id)}


@app.post("/run/<name>")
def run(name):
    """Start any other task."""
    task = celery.tasks[f"gallery.{name}"].delay(*request.get_json())
    return jsonify({}), 202, {"Location": url_for("status", name=name, task_id=task.id)}


@app.get("/status/<name>/<task_id>")
def status(name, task_id):
    """Tell how far a task is."""
    task = celery.tasks[f"gallery.{name}"].AsyncResult(task_id)
    if task.state == "PENDING":
        response = {"state": task.state, "current": 0, "total": 1, "status": "Pending..."}
    elif task.state != "FAILURE" and isinstance(task.info, dict):
        response = {"state": task.state, **task.info}
    else:
        response = {"state": task.state, "current": 1, "total": 1, "status": str(task.info)}
    return jsonify(response)
