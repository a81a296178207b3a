"""A site whose tasks run in its contexts, by the package Flask-CeleryExt."""

from celery import Celery
from flask import Flask, current_app, g, request
from flask_celeryext import FlaskCeleryExt, RequestContextTask

Celery("site").set_current()  # the extension takes the current application
app = Flask("site")
app.config.update(
    CELERY_BROKER_URL="redis://localhost:6379/0",
    CELERY_RESULT_BACKEND="redis://localhost:6379/1",
    CELERY_ACCEPT_CONTENT=["json", "msgpack"],
    CELERY_TASK_SERIALIZER="msgpack",
    CELERY_RESULT_SERIALIZER="msgpack",
    MOTTO="often",
)
celery = FlaskCeleryExt(app).celery


@app.before_request
def greet():
    """Run before each request, also a task's."""
    g.greeting = "hello"


@app.after_request
def count(response):
    """Run after each request, also a task's."""
    app.logger.warning("a response of %s", response.status_code)
    return response


@celery.task
def motto():
    """Read the site's configuration."""
    return current_app.config["MOTTO"]


@celery.task(base=RequestContextTask)
def answer(text):
    """Run as in a request."""
    return [g.greeting, request.method, text]


@app.post("/<name>")
def send(name):
    """Send a task, and wait for it."""
    return {"value": celery.tasks[f"web.{name}"].delay(*request.get_json()).get(timeout=60)}
