"""Options of the programs that run for long: user, group and rights."""

from __future__ import annotations

import grp
import os
import pwd

import click

DETACHED = "leave the background to systemd, a container or `&`"


def umask(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Set the rights that new files do not get."""
    if value is not None:
        try:
            os.umask(int(value, 8))
        except ValueError:
            raise click.BadParameter(
                f"must be an octal number such as 027, not {value!r}", context, parameter
            ) from None


def become(user: str | None, group: str | None) -> None:
    """Change from root to the user and group that are given."""
    if user is None and group is None:
        return
    try:
        known = None if user is None else pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
        number = _group(group) if group is not None else known.pw_gid if known is not None else os.getgid()
        os.setgroups(os.getgrouplist(known.pw_name, number) if known is not None else [number])
        os.setgid(number)
        if known is not None:
            os.setuid(known.pw_uid)
    except (KeyError, PermissionError) as error:
        raise click.UsageError(f"--uid, --gid: {error.args[-1]}") from None


def _group(name: str) -> int:
    return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
