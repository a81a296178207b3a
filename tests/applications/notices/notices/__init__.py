"""A service that sends messages: its own application class and task class, several queues, a site on Flask."""

from flask import Flask, g, jsonify, request

from notices.celery import NoticesCelery

notices_celery = NoticesCelery()


def create_app():
    """Make the site and its tasks' application."""
    app = Flask("notices")
    app.config.from_mapping(
        NOTICES_PREFIX="test-",
        CELERY={
            "broker_url": "sqs://",
            "broker_transport_options": {"region": "eu-west-1", "visibility_timeout": 310, "wait_time_seconds": 20},
            "timezone": "Europe/London",
            "imports": ["notices.tasks"],
            "result_expires": 0,
            "result_backend": "redis://localhost",
            "worker_max_tasks_per_child": 1000,
            "worker_hijack_root_logger": False,
            "task_serializer": "json",
            "task_create_missing_queues": True,
        },
    )
    app.config.from_prefixed_env()
    notices_celery.init_app(app)

    @app.before_request
    def note_request():
        g.request_id = request.headers.get("X-Request-Id")

    @app.post("/notices/<kind>")
    def send(kind):
        """Send a notice of one kind to all addresses."""
        from notices import tasks

        task = getattr(tasks, f"deliver_{kind}")
        body = request.get_json()
        options = {"queue": f"test-send-{kind}-tasks", "MessageGroupId": body.get("group")}
        sent = [task.apply_async([address], **options) for address in body["addresses"]]
        return jsonify([each.id for each in sent])

    return app
