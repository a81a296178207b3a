"""A shop on Flask, made by a factory in the pattern of Flask's documentation."""

from flask import Flask

from lavoro import Celery, Task


def create_app():
    """Make the site."""
    app = Flask(__name__)
    app.config.from_mapping(
        CELERY={
            "broker_url": "redis://localhost",
            "result_backend": "redis://localhost",
            "task_ignore_result": True,
            "task_track_started": True,
            "worker_hijack_root_logger": False,
            "broker_connection_retry_on_startup": True,
        },
        CURRENCY="EUR",
    )
    app.config.from_prefixed_env()
    celery_init_app(app)

    from . import views

    app.register_blueprint(views.pages)
    return app


def celery_init_app(app):
    """Make the tasks' application, whose tasks run in the site's context."""

    class FlaskTask(Task):
        def __call__(self, *args, **kwargs):
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app
