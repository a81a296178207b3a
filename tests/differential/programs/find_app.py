"""Which application `-A` finds in a module."""

import sys
import types

from celery import Celery
from celery.app.utils import find_app
from record import attempt

POOLS = ()


def module(name, **values):
    made = types.ModuleType(name)
    vars(made).update(values)
    sys.modules[name] = made
    return made


class Holder:
    def __init__(self, app):
        self.app = app

    def _get_current_object(self):
        return self.app


def main():
    one, two = Celery("one", set_as_current=False), Celery("two", set_as_current=False)
    module("has_app", app=one)
    module("has_celery", celery=one)
    module("has_both", app=one, celery=two)
    module("has_other", something=one)
    module("has_nothing")
    module("has_number", app=5)
    from celery.local import Proxy

    module("has_proxy", app=Proxy(lambda: one))
    for name in (
        "has_app has_celery has_both has_other has_app:app has_other:something has_both.celery has_nothing"
        " no_such_module has_app:nothing has_number has_proxy has_proxy:app"
    ).split():
        attempt(name, lambda name=name: find_app(name).main)
