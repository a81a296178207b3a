"""URLs of databases: one form for libpq, and one to show, without the password."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from lavoro.exceptions import ImproperlyConfigured

_SCHEME = re.compile(r"postgres(?:ql)?(?:\+\w+)?://")
_PASSWORD = re.compile(r"(://[^:/?]*:).*@", re.DOTALL)
"""All from the first colon to the last ``@``: a password that is not encoded may hold any character."""
_OPTION = re.compile(r"(password\s*=\s*)('(?:\\.|[^'])*'|[^&\s]*)", re.IGNORECASE)
_ENCODE = "percent-encode the user and the password: urllib.parse.quote(password, safe='') writes @ as %40, / as %2F"


def clean_url(url: str) -> str:
    """Return a URL of libpq: without the driver's name.

    Raises ``ImproperlyConfigured`` for a URL that libpq cannot read, or reads otherwise than it is meant.
    """
    found = _SCHEME.match(url := url.strip())
    if not found:
        raise ImproperlyConfigured(f"{masked(url)!r} is no PostgreSQL URL: it must begin with postgresql://")
    plain = f"postgresql://{url[found.end() :]}"
    try:
        parts = conninfo_to_dict(plain)
    except ProgrammingError as error:  # its message may quote the password
        problem = _ENCODE if "@" in plain else str(error).strip()
        raise ImproperlyConfigured(f"{masked(url)} is no PostgreSQL URL: {problem}") from None
    if _is_cut(plain, parts):
        raise ImproperlyConfigured(f"{masked(url)} is no PostgreSQL URL: {_ENCODE}")
    return plain


def _is_cut(url: str, parts: Mapping[str, Any]) -> bool:
    """Return whether a password ended too early, at its own ``@`` or ``/``: its rest is in the host, port or name."""
    authority, _, path = url.partition("?")[0].removeprefix("postgresql://").partition("/")
    if authority.count("@") > 1 or "@" in path or "@" in str(parts.get("host")):
        return True
    return not all(port.isdecimal() or not port for port in str(parts.get("port") or "").split(","))


def masked(url: str) -> str:
    """Return a URL, or a text of libpq's ``key=value``, to show: without its password."""
    url = url.strip()
    try:
        plain = _SCHEME.sub("postgresql://", url)
        parts = conninfo_to_dict(plain)
        hidden = "password" not in parts and not _is_cut(plain, parts)
    except ProgrammingError:
        hidden = False
    return url if hidden else _OPTION.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))
