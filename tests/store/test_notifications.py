"""The words of notifications: what is written is read again, and SQL and Python know the same ones."""

from __future__ import annotations

import re

import pytest

from lavoro.store.notifications import (
    WORDS,
    Back,
    Cancel,
    Due,
    Later,
    Lease,
    Notification,
    read,
    write,
)
from lavoro.store.schema.migrate import functions, migrations
from lavoro.store.statements import FOLDER

ID = "018f3e1c-0000-7000-8000-000000000001"

EXAMPLES = [
    ("due:5:mail", Due(5, "mail")),
    ("due:-32768:a:b", Due(-32768, "a:b")),
    ("later:0:two\nlines", Later(0, "two\nlines")),
    ("back:mail", Back("mail")),
    ("back:", Back("")),
    (f"cancel:7:{ID}", Cancel(7, ID)),
    ("lease:30.0", Lease(30.0)),
]


@pytest.mark.parametrize(("payload", "notification"), EXAMPLES)
def test_what_is_written_is_read(payload: str, notification: Notification) -> None:
    assert write(notification) == payload
    found = read(payload)
    assert (type(found), found) == (type(notification), notification)


@pytest.mark.parametrize(
    "payload",
    [
        "", "due", "due:", "due:mail", "due:x:mail", "DUE:1:mail", "back", "cancel:1", "cancel:1:2", "cancel:1:",
        f"cancel:-1:{ID}", f"cancel:{10**20}:{ID}", f"cancel:1:{str(ID).upper()}", "lease:", "lease:-1",
        "lease:infinity", "+0:celery", "!",
    ],
)  # fmt: skip
def test_what_nobody_of_ours_has_written_says_nothing(payload: str) -> None:
    assert read(payload) is None


def test_sql_writes_all_words_and_no_others() -> None:
    texts = [path.read_text() for path in FOLDER.glob("*.sql")] + list(functions().values())
    texts += [text for _, _, text in migrations()]
    sent = [
        call for text in texts for call in re.findall(r"pg_notify\(\s*'\{prefix\}_wake',(.*?);?\n(?=\S|$)", text, re.S)
    ]
    assert len(sent) >= 9
    assert {word for call in sent for word in re.findall(r"'(\w+):'", call)} == set(WORDS)
