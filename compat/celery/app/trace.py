"""Celery's module that runs tasks: the texts of log lines, of which one that is set here is Lavoro's too."""

from celery._answer import answer, forward

__getattr__, __dir__ = answer("lavoro.task_log", replaced=True)
forward("lavoro.task_log")
