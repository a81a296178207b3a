"""The settings of an app: a mapping with attributes that knows every default and reads configuration late.

Four layers, the first that knows a name answers: what code set on ``conf``, the configuration objects (the later wins),
the app's own defaults, and `DEFAULTS`.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from functools import partial, reduce
from importlib import import_module
from inspect import getattr_static
from types import BuiltinFunctionType, ModuleType
from typing import Any

from lavoro.config import absent, spelling
from lavoro.config.defaults import DEFAULTS, RETRY_POLICY, as_seconds
from lavoro.config.lookup import Finding
from lavoro.config.old_names import OLD_NAMES, check_unmixed
from lavoro.exceptions import ImproperlyConfigured, LavoroWarning
from lavoro.runtime.forking import in_each_fork

_versions = itertools.count()
_NAMES, _POLICY = frozenset(DEFAULTS) | absent.SETTINGS, frozenset(RETRY_POLICY)

Source = Callable[[], Mapping[str, Any]]
"""Yields settings when it is called, which happens on the first read of any setting."""


def symbol(path: str) -> Any:
    """Import the module or object that a dotted path names: ``pkg.mod``, ``pkg.mod:name.part`` or ``pkg.mod.name``.

    Raises ImportError if there is none; an import error inside an existing module comes through as it is.
    """
    module, colon, names = path.partition(":")
    if not colon:
        module, names = _split(path)
    found = import_module(module)
    try:
        return reduce(getattr, filter(None, names.split(".")), found)
    except AttributeError as error:
        raise ImportError(f"{path!r} cannot be imported: {error}", name=module) from error


def load(source: Any, *, namespace: str | None = None) -> dict[str, Any]:
    """Read the settings of a dict, module, class, object, or the dotted path of one (see `symbol`).

    A dict is taken as it is. Of other objects only the attributes are taken that can be settings: no modules, and
    functions and classes only for settings that take them, so that a module's imports do not become settings. With the
    namespace "CELERY" names such as ``CELERY_TASK_ROUTES`` are settings without the prefix; all names can be read as
    they are, too.

    >>> load({"CELERY_TIMEZONE": "UTC", "DEBUG": True}, namespace="CELERY")
    {'CELERY_TIMEZONE': 'UTC', 'DEBUG': True, 'timezone': 'UTC'}
    """
    if isinstance(source, str):
        source = symbol(source)
    if source is None or isinstance(source, (bool, int, float, bytes, list, tuple, set)):
        raise ImproperlyConfigured(f"{source!r} holds no settings: give a dict, a module, a class or a dotted path")
    values = dict(source) if isinstance(source, Mapping) else _attributes(source)
    if namespace:
        return {**values, **_in_namespace(values, namespace)}
    check_unmixed(values)
    return values


@dataclass(frozen=True)
class Configuration:
    """A source of settings: what ``config_from_object`` was given."""

    source: Any
    namespace: str | None
    silent: bool
    """Whether one that cannot be imported holds no settings."""

    def __call__(self) -> Mapping[str, Any]:
        """Read it."""
        try:
            return load(self.source, namespace=self.namespace)
        except ImportError:
            if self.silent:
                return {}
            raise


class Settings(Finding):
    """All settings of an app, as a mapping and as attributes.

    ``defaults`` are the app's own and go before `DEFAULTS`; ``pending`` are configuration objects not read yet. The
    upper-case names of Celery 3 stand for today's. Names that are no setting are kept, so that a whole Flask
    configuration can be put in. Reading and writing are safe in threads.

    >>> conf = Settings({"timezone": "Europe/Rome"})
    >>> conf.update(task_always_eager=True)
    >>> conf.timezone, conf["task_always_eager"], conf.worker_pool
    ('Europe/Rome', True, 'gevent')
    """

    def __init__(
        self,
        defaults: Mapping[str, Any] | None = None,
        *,
        pending: Iterable[Source] = (),
    ) -> None:
        self._changes: dict[str, Any] = {}
        self._loaded: dict[str, Any] = {}
        self._live: dict[str, Any] = {}
        self._defaults: dict[str, Any] = {
            **absent.UNREAD,
            **{name: default.value for name, default in DEFAULTS.items()},
        }
        self._merge(self._defaults, defaults or {})
        self._added: set[str] = set()
        """The settings for which the application has defaults of its own."""
        self._pending: list[tuple[dict[str, Any], Source]] = [(self._loaded, source) for source in pending]
        self._sources: list[tuple[Source, Mapping[str, Any]]] = []
        """The configuration objects that have been read, and what they hold."""
        self._warned = False
        self._renew_lock()
        in_each_fork(self._renew_lock)
        self._changed()

    @property
    def _layers(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        return self._changes, self._loaded, self._live

    def _renew_lock(self) -> None:
        """Make a new lock: the thread that held the old one does not exist in a forked process."""
        # Reentrant, for configuration modules that import the app and read its settings while they are being read.
        self._lock = threading.RLock()
        self._reading = False

    def _changed(self) -> None:
        self._version = next(_versions)
        self._known: dict[str, Any] = {}
        """Settings that were read in this state, by any name: each call of a task reads five settings."""

    @property
    def version(self) -> int:
        """A number that no other state of these settings, or of others in this process, has."""
        return self._version

    @property
    def pending(self) -> int:
        """How many configuration objects are still to be read."""
        return len(self._pending)

    def add_source(self, source: Source) -> None:
        """Add a configuration object, to be read on the first access to any setting.

        It wins over those added before, and loses to what code set on ``conf`` itself, before or after.
        """
        self._pending.append((self._loaded, source))
        self._changed()

    def configure(self, configuration: Configuration) -> None:
        """Add a configuration object, as ``add_source`` does; the one before is forgotten, read or not."""
        with self._lock:
            self._pending[:] = [entry for entry in self._pending if not isinstance(entry[1], Configuration)]
            self._sources = [entry for entry in self._sources if not isinstance(entry[0], Configuration)]
            self._loaded.clear()
            for _, values in self._sources:
                self._merge(self._loaded, values)
        self.add_source(configuration)

    def add_defaults(self, defaults: Mapping[str, Any] | Source) -> None:
        """Add defaults, which all configured settings override; a callable is called on the first access."""
        self._pending.append((self._defaults, defaults if callable(defaults) else lambda: defaults))
        self._changed()

    def _read(self) -> None:
        with self._lock:
            if self._reading:
                return
            self._reading = True
            try:
                while self._pending:
                    target, source = entry = self._pending[0]
                    values = source()
                    if self._pending[0] is not entry:  # it was replaced while it was read
                        continue
                    self._merge(target, values)
                    if target is self._defaults:
                        self._added.update(OLD_NAMES.get(name, name) for name in values)
                    if target is self._loaded:
                        self._sources.append((source, values))
                    if len(self._pending) == 1:
                        self._complete()
                    # Last: other threads wait while an object is pending, and an object that failed stays pending.
                    del self._pending[0]
            finally:
                self._reading = False

    def _complete(self) -> None:
        """Called when the last of the configuration objects has been read; for subclasses."""

    def _merge(self, target: dict[str, Any], values: Mapping[str, Any]) -> None:
        """Store the values; of an old name and its new name, the new one wins."""
        for name, value in values.items():
            self._look_at(name, value)
        target.update({OLD_NAMES[name]: value for name, value in values.items() if name in OLD_NAMES})
        target.update({name: value for name, value in values.items() if name not in OLD_NAMES})

    def __getitem__(self, key: str) -> Any:
        known = self._known  # first: a value that is read while the settings change belongs to the old state
        try:
            return known[key]
        except KeyError:
            value = self._look_up(OLD_NAMES.get(key, key))
            if not self._pending:
                known[key] = value
            return value

    def _look_up(self, name: str) -> Any:
        if self._pending:
            self._read()
        for layer in self._layers:
            if name in layer:
                return layer[name]
        value = self._defaults[name]
        if isinstance(value, (dict, list, set)):
            # A copy of one's own, so that conf.beat_schedule["x"] = ... lasts and stays within this app.
            value = self._live.setdefault(name, copy(value))
        return value

    def _look_at(self, name: Any, value: Any) -> None:
        """Warn of a name that is nearly a setting's; upper-case names belong to a framework's configuration."""
        if OLD_NAMES.get(name, name) == "task_publish_retry_policy" and isinstance(value, Mapping):
            for option in value:
                spelling.warn_of(f"{name}: the option", option, _POLICY)
        if name in _NAMES or not isinstance(name, str) or not name.islower() or name in OLD_NAMES:
            return
        if name.partition("_")[2] not in _NAMES:  # one with a namespace, such as celery_task_routes
            spelling.warn_of("the setting", name, _NAMES)

    def __setitem__(self, key: str, value: Any) -> None:
        self._look_at(key, value)
        self._changes[OLD_NAMES.get(key, key)] = value
        self._changed()

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several.

        If some have old names and others new ones, the first read raises ImproperlyConfigured, unless that has been.
        """
        values = dict(*args, **kwargs)
        if self._pending:
            self._pending.append((self._changes, partial(_nothing_but_unmixed, values)))
        for key, value in values.items():
            if OLD_NAMES.get(key) not in values:
                self[key] = value

    def __delitem__(self, key: str) -> None:
        """Delete the value that code set, so that the configuration or the default holds again."""
        name = OLD_NAMES.get(key, key)
        found = [layer.pop(name) for layer in (self._changes, self._live) if name in layer]
        self._changed()
        if not found and name not in self:
            raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        self._read()
        return iter({**self._changes, **self._loaded, **self._defaults})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def clear(self) -> None:
        """Delete all values that code set; configuration objects and defaults stay."""
        self._changes.clear()
        self._live.clear()
        self._changed()

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Set it unless it was set or configured before; a default of Lavoro's does not count as set."""
        if OLD_NAMES.get(key, key) not in self.changes:
            self[key] = default
        return self[key]

    def copy(self) -> dict[str, Any]:
        """Return the values that code set: after `clear`, ``update`` with them restores them (``mock.patch.dict``)."""
        return {**self._touched(), **self._changes}

    def __copy__(self) -> Settings:
        """Return settings of their own with the same values."""
        self._read()
        made = Settings()
        made._defaults.update(self._defaults)
        made._added.update(self._added)
        for layer, values in zip(made._layers, self._layers, strict=True):
            layer.update(values)
        return made

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # asked for by copy and pickle before __init__ ran
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            meant = spelling.nearest(name, _NAMES)
            hint = f": did you mean {meant!r}?" if meant else ", and nothing was set under that name"
            raise AttributeError(f"there is no setting {name!r}{hint}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        # pytest's monkeypatch and mock.patch.object look here whether there is a value to restore.
        return self._changes

    def __repr__(self) -> str:
        return f"<Settings: {len(self._changes) + len(self._loaded)} set, {len(self._pending)} to be read>"

    @property
    def changes(self) -> dict[str, Any]:
        """A copy of the settings that code set or configuration objects hold, without defaults."""
        self._read()
        return {**self._touched(), **self._loaded, **self._changes}

    def _touched(self) -> dict[str, Any]:
        """Return the defaults that were changed in place."""
        return {name: value for name, value in self._live.items() if value != self._defaults[name]}

    def table(self, with_defaults: bool = False, censored: bool = True) -> dict[str, Any]:
        """Return the settings for showing: secrets and passwords in URLs are masked unless ``censored`` is False.

        Defaults are those of Lavoro: an application's own are shown.
        """
        changes = self.changes  # reads what is pending
        shown = dict(self) if with_defaults else {**{name: self[name] for name in self._added}, **changes}
        return {name: _masked(name, value) for name, value in shown.items()} if censored else shown

    def humanize(self, with_defaults: bool = False, censored: bool = True) -> str:
        """Return the settings of `table`, sorted, one line ``name: value`` each."""
        shown = self.table(with_defaults=with_defaults, censored=censored)
        hide = _without_passwords if censored else str
        return "\n".join(hide(f"{name}: {shown[name]!r}").replace("\n", " ") for name in sorted(shown, key=str))

    def seconds(self, name: str) -> float | None:
        """Return the duration a setting says, given as a number or a timedelta, in seconds; None for None."""
        return None if self[name] is None else float(as_seconds(self[name]))

    @property
    def failures_kept(self) -> float | None:
        """How long failed tasks are kept, in seconds; None for ever."""
        name = "lavoro_failure_expires" if self["result_failure_expires"] is None else "result_failure_expires"
        return self.seconds(name) or None

    @property
    def database_url(self) -> str | None:
        """Where the database is, as ``postgresql://``; None stands for the embedded one.

        In this order: the environment's ``CELERY_BROKER_URL``, the settings ``broker_url`` and ``database_url``, the
        environment's ``LAVORO_DATABASE_URL``, and its ``DATABASE_URL`` if that is a PostgreSQL URL. One of the first
        three that names something else (``redis://``) raises ImproperlyConfigured, unless one of the first four names
        the database: then it is passed over with one warning.
        ``conf["database_url"]`` is the setting alone.
        """
        told = [("CELERY_BROKER_URL", os.environ.get("CELERY_BROKER_URL"))]
        given = [*told, *((name, self[name]) for name in ("broker_url", "database_url"))]
        given = [(name, value) for name, value in given if value]
        foreign = [(name, value) for name, value in given if not _is_postgres(value)]
        url: str | None = next((value for _, value in given if _is_postgres(value)), None) or _url_from_environment()
        if foreign and foreign[0] == given[0]:
            self._pass_over(*foreign[0], url)
        url = url or os.environ.get("DATABASE_URL", "")
        return _POSTGRES.sub("postgresql://", url) if _is_postgres(url) else None

    @property
    def strict_results(self) -> bool:
        """Whether a result that cannot be stored fails its task: as the setting says, or if a backend is asked for."""
        strict = self["lavoro_strict_results"]
        return self["result_backend"] not in _NO_BACKEND if strict is None else bool(strict)

    def _pass_over(self, name: str, value: Any, url: str | None) -> None:
        what = f"{name} names no PostgreSQL database but {_kind(value)}"
        if url is None:
            raise ImproperlyConfigured(
                f"{what}. Set {name} to postgresql://user:password@host:port/name, or LAVORO_DATABASE_URL in the "
                "environment; with neither and without this setting, Lavoro runs a PostgreSQL of its own"
            )
        if not self._warned:
            self._warned = True
            text = f"{what}; it is passed over for the PostgreSQL database that was named"
            warnings.warn(text, LavoroWarning, stacklevel=spelling.outside())

    def check(self) -> None:
        """Raise ImproperlyConfigured that lists settings which are unsupported, of a wrong type or out of range."""
        changes = self.changes
        problems = [*_refused(changes), *_wrong(changes), *_contradictions(self)]
        if problems:
            raise ImproperlyConfigured("\n".join(problems))


_POSTGRES = re.compile(r"^postgres(?:ql)?(?:\+\w+)?://", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(r"(://[^\s:/@]*:)\S*@")
_PASSWORD_ASSIGNED = re.compile(r"((?:pass\w*|pwd|secret|token|key)=)(?:'[^']*'|[^&\s'\"]+)", re.IGNORECASE)
_SECRET = re.compile(
    r"pass|secret|token|credential|signature|salt|dsn|api_?key|(?<!routing)(?:^|_)(?:keys?|pwd|auth)$", re.I
)


_NO_BACKEND = (None, "", "disabled", "disabled://")
"""The values of ``result_backend`` that ask for none."""


def _nothing_but_unmixed(values: Mapping[str, Any]) -> Mapping[str, Any]:
    check_unmixed(values)
    return {}


def _split(path: str) -> tuple[str, str]:
    """Find the longest part of a dotted path that is a module; the rest names something in it."""
    module, names = path, ""
    while True:
        try:
            import_module(module)
            return module, names
        except ModuleNotFoundError as error:
            if "." not in module or not f"{module}.".startswith(f"{error.name}."):
                raise
        module, _, name = module.rpartition(".")
        names = f"{name}.{names}"


def _in_namespace(values: Mapping[Any, Any], namespace: str) -> dict[str, Any]:
    prefix = namespace.rstrip("_") + "_"
    names = [name for name in values if isinstance(name, str) and name.startswith(prefix)]
    found = {name: _unprefixed(name, prefix) for name in names if name.isupper() or not namespace.isupper()}
    # Those of Celery 3 begin with CELERY_ too, and are read as they are.
    return {short: values[name] for name, short in found.items() if short in _NAMES or name not in OLD_NAMES}


def _unprefixed(name: str, prefix: str) -> str:
    """Strip the namespace; LAVORO_LEASE is lavoro_lease, whose own prefix need not be written twice."""
    short = name[len(prefix) :].lower()
    return name.lower() if short not in DEFAULTS and name.lower() in DEFAULTS else short


def _attributes(source: Any) -> dict[str, Any]:
    # Reads no property unless a setting has its name: an object's properties may warn, fail or be slow.
    names = [name for name in dir(source) if not name.startswith("_")]
    known = {name for name in names if name in DEFAULTS or name.isupper()}
    wanted = [name for name in names if name in known or not _is_code(getattr_static(source, name, None))]
    values = {name: getattr(source, name) for name in wanted}
    return {name: value for name, value in values.items() if _takes_code(name) or not _is_code(value)}


def _takes_code(name: str) -> bool:
    return name.isupper() or name in {"task_routes", "task_annotations", "beat_scheduler"}


def _is_code(value: Any) -> bool:
    return isinstance(value, (type, ModuleType, BuiltinFunctionType)) or hasattr(type(value), "__get__")


def _is_postgres(url: Any) -> bool:
    return isinstance(url, str) and _POSTGRES.match(url) is not None


def _url_from_environment() -> str | None:
    url = os.environ.get("LAVORO_DATABASE_URL") or None
    if url is not None and not _is_postgres(url):
        raise ImproperlyConfigured(
            f"LAVORO_DATABASE_URL in the environment must begin with postgresql://, but it is {_kind(url)}"
        )
    return url


def _kind(url: Any) -> str:
    """Return a URL without its secrets."""
    if not isinstance(url, str):
        return f"a {type(url).__name__} (several servers are written postgresql://host1,host2/name)"
    scheme, separator, _ = url.partition("://")
    return f"a {scheme}:// URL" if separator else "no URL at all"


def _without_passwords(text: str) -> str:
    return _PASSWORD_ASSIGNED.sub(r"\1**", _PASSWORD_IN_URL.sub(r"\1**@", text))


def _masked(name: Any, value: Any) -> Any:
    if value not in (None, "", True, False) and _SECRET.search(str(name)):
        return "********"
    if isinstance(value, Mapping):
        return {key: _masked(key, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked("", item) for item in value]
    return _without_passwords(value) if isinstance(value, str) else value


def _refused(changes: Mapping[str, Any]) -> Iterator[str]:
    yield from absent.of_settings(changes, "refused")
    for name in ("task_serializer", "result_serializer"):
        if changes.get(name) == "auth":
            yield f"{name} = 'auth': {absent.UNSIGNED}"


def _wrong(changes: Mapping[str, Any]) -> Iterator[str]:
    for name, value in changes.items():
        default = DEFAULTS.get(name)
        if default and not default.accepts(value):
            shown = _without_passwords(repr(_masked(name, value)))[:100]
            yield f"{name} must be {default.rule.text}, not {shown}"


def _contradictions(settings: Settings) -> Iterator[str]:
    for low, high in _ORDERED:
        if as_seconds(settings[low]) > (as_seconds(settings[high]) or math.inf):
            yield f"{low} ({settings[low]}) must not be longer than {high} ({settings[high]})"
    for name in ("broker_read_url", "broker_write_url"):
        if settings[name] not in (None, settings["broker_url"]):
            yield f"{name} differs from broker_url, but there is one database for both: leave it out"
    if settings["lavoro_require_signature"] and not settings["lavoro_signing_keys"]:
        yield "lavoro_require_signature is on, but there is no key to verify with: set lavoro_signing_keys"


_ORDERED = (
    ("task_soft_time_limit", "task_time_limit"),
    ("lavoro_unknown_task_delay", "lavoro_unknown_task_delay_max"),
)
