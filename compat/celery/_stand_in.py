"""Stand-ins for names of Celery that Lavoro does not have: importing one is no error, using one is."""

from __future__ import annotations

from typing import Any, NoReturn

from lavoro.config.absent import MissingAttribute, MissingName
from lavoro.exceptions import NotSupported


class StandIn:
    """Stands for a class, function or object; a use raises NotImplementedError with the sentence.

    A class may be derived from it, and annotations may name it: modules do so when they are imported. Nothing is an
    instance of it.
    """

    def __init__(self, name: str, sentence: str) -> None:
        self._name = name
        self._sentence = sentence

    def __repr__(self) -> str:
        return f"<{self._name}: {self._sentence}>"

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        def __new__(cls: type, *_args: Any, **_options: Any) -> NoReturn:
            self._refuse()

        return (type(self._name.rpartition(".")[2], (), {"__new__": __new__, "__module__": "celery"}),)

    def __getattr__(self, attribute: str) -> NoReturn:
        if attribute.startswith("_"):  # asked by what collects, copies and prints
            raise AttributeError(attribute)
        raise MissingAttribute(f"{self._name}.{attribute}: {self._sentence}")

    def __getitem__(self, _: Any) -> StandIn:
        return self

    def __or__(self, _: Any) -> Any:
        return Any

    __ror__ = __or__

    def __instancecheck__(self, _: object) -> bool:
        return False

    __subclasscheck__ = __instancecheck__

    def _refuse(self, *_args: Any, **_options: Any) -> NoReturn:
        raise NotSupported(f"{self._name}: {self._sentence}")

    __call__ = __iter__ = __len__ = __contains__ = __enter__ = __add__ = __lt__ = __mod__ = __setitem__ = _refuse


def missing_name(name: str, sentence: str) -> MissingName:
    """Return the error for a name that must not be imported."""
    return MissingName(f"{name}: {sentence}")
