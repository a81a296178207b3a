"""Saves of which tasks a group consists, so that another process can find them by the group's id."""

from __future__ import annotations

import uuid

from lavoro.store.tx import Tx


def save(tx: Tx, id: uuid.UUID, form: str) -> None:
    """Store the form of a group, JSON; replaces an earlier one."""
    tx.execute("save_group", {"id": id, "form": form})


def restore(tx: Tx, id: uuid.UUID) -> str | None:
    """Return the form of a group; None if none is stored, or no longer."""
    row = tx.row("fetch_group", {"id": id})
    return row[0] if row else None


def delete(tx: Tx, id: uuid.UUID) -> None:
    """Drop the form of a group."""
    tx.execute("delete_group", {"id": id})
