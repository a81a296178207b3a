"""Compares the connected user's rights with those of a role."""

from __future__ import annotations

from lavoro.monitoring.doctor.exam import Exam, Finding
from lavoro.store.schema import roles
from lavoro.text.commands import command

_GRANT = "grant {group} to {user};  -- the role is made by: {command}"
_REVOKE = "-- use a user that is a member of {group} alone: {user} has more rights, or owns the tables"


def examine_role(exam: Exam, role: str) -> list[Finding]:
    """Compare the connected user's rights with those of a role."""
    [[user, quoted]] = exam.rows("connected_user")
    group, schema = roles.role_name(exam.tx.schema, role), exam.tx.schema
    wanted = roles.rights(role)
    has = roles.held(exam.tx, wanted)
    lacks = [right for right in wanted if right not in has]
    return [
        *(
            Finding("role", user, f"lacks {right.words} on {right.on(schema)}, which a {role} needs", _GRANT.format(
                command=command("migrate", "--roles"), group=group, user=quoted))
            for right in lacks
        ),
        *(
            Finding("role", user, f"has {right.words} on {right.on(schema)}, which a {role} must not", _REVOKE.format(
                user=user, group=group))
            for right in roles.held(exam.tx, roles.excluded(role))
        ),
    ]  # fmt: skip
