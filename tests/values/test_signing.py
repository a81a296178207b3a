"""Signatures: what was sent with a key is taken as it was sent, and nothing else is."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavoro import Lavoro
from lavoro.exceptions import ImproperlyConfigured, SecurityError
from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Job, Message
from lavoro.protocol.signing import Keyring, keyring_of

OLD, NEW, OTHER = "the old key, 1234", "the new key, 1234", "another key, 1234"
ring = Keyring([NEW], required=True)

TEXTS = st.none() | st.text(st.characters(exclude_categories=("Cs",)))
OPTIONS = st.none() | st.dictionaries(st.text(max_size=5), st.integers() | st.text(), min_size=1).map(json.dumps)
PARTS = st.fixed_dictionaries({
    "name": st.text(min_size=1).filter(lambda text: text.isprintable()), "args": TEXTS, "kwargs": TEXTS,
    "options": OPTIONS, "payload": st.none() | st.binary(),
})  # fmt: skip


def message(**parts: Any) -> Message:
    plain = Message(uuid7(), "test.add", "celery", 0, 0, None, 0.0, None, None, "[1,2]", None, None, None)
    return plain._replace(**parts)


def job(sent: Message, **changes: Any) -> Job:
    """What a worker gets of it."""
    fields = {name: getattr(sent, name) for name in ("id", "name", "args", "kwargs", "options", "payload", "queue")}
    rest = {
        "priority": 0, "attempt": 1, "retries": 0, "crashes": 0, "due": None, "expires": None, "expired": False,
        "revoked": False,
    }  # fmt: skip
    return Job(**{**fields, **rest, **changes})


@given(PARTS)
def test_what_was_signed_arrives_as_it_was_sent(parts: dict[str, Any]) -> None:
    sent = message(**parts)
    signed = ring.signed(sent)
    assert json.loads(signed.options or "")["signature"]
    assert ring.verified(job(signed)) == job(sent)
    assert ring.signed(signed) == signed


@given(PARTS, PARTS, st.sampled_from(["name", "args", "kwargs", "options", "payload", "id"]))
def test_whatever_is_changed_is_noticed(parts: dict[str, Any], others: dict[str, Any], field: str) -> None:
    signed = ring.signed(message(**parts))
    other = ring.signed(message(**{**parts, field: others[field]})) if field != "id" else message()
    if field == "options":
        signature = json.loads(signed.options or "")["signature"]
        changed = {"signature": signature, **json.loads(others["options"] or "{}")}
        changes: dict[str, Any] = {"options": json.dumps(changed, separators=(",", ":"))}
        if ring.signed(message(**parts, id=signed.id)).options == changes["options"]:
            return
    else:
        changes = {field: getattr(other, field)}
        if getattr(signed, field) == changes[field]:
            return
    with pytest.raises(SecurityError, match="was not made with a key"):
        ring.verified(job(signed, **changes))


def test_parts_cannot_be_moved_from_one_to_another() -> None:
    signed = ring.signed(message(args="[1]", kwargs="{}"))
    for changes in (
        {"args": "[1]{}", "kwargs": ""},
        {"args": None, "kwargs": "[1]"},
        {"args": "[1]{}", "kwargs": None},
    ):
        with pytest.raises(SecurityError):
            ring.verified(job(signed, **changes))


def test_another_key_is_refused_and_an_old_one_taken() -> None:
    signed = Keyring([OLD]).signed(message())
    with pytest.raises(SecurityError, match=r"test\.add was not made with a key of lavoro_signing_keys"):
        ring.verified(job(signed))
    assert Keyring([NEW, OLD]).verified(job(signed)).options is None
    assert Keyring([OTHER, NEW, OLD]).signed(message(id=uuid.UUID(int=1))) == Keyring([OTHER]).signed(
        message(id=uuid.UUID(int=1))
    )


@pytest.mark.parametrize(
    "options", [None, "{}", '{"headers":{}}', '{"headers":{},"signature":"00"}', "[1]", "nonsense"]
)
def test_without_a_signature_in_its_place(options: str | None) -> None:
    sent = job(message(options=options))
    assert Keyring([NEW]).verified(sent) is sent
    with pytest.raises(SecurityError, match="has no signature, and lavoro_require_signature is on"):
        ring.verified(sent)


@pytest.mark.parametrize("signature", ["", "00", "é", "0" * 64])
def test_a_made_up_signature_is_refused_even_where_none_is_required(signature: str) -> None:
    sent = job(message(options=f'{{"signature":"{signature}"}}'))
    with pytest.raises(SecurityError):
        Keyring([NEW], required=True).verified(sent)


def test_what_may_change_on_the_way() -> None:
    signed = ring.signed(message())
    assert ring.verified(job(signed, queue="other", priority=3, attempt=9, retries=8, crashes=1)).name == "test.add"


def test_no_keys_no_keyring() -> None:
    assert keyring_of((), required=False) is None
    assert keyring_of([NEW], required=False) is not None


def test_settings() -> None:
    app = Lavoro("none", set_as_current=False, lavoro_require_signature=True)
    with pytest.raises(ImproperlyConfigured, match="there is no key to verify with: set lavoro_signing_keys"):
        app.conf.check()
    app.conf.lavoro_signing_keys = ["short"]
    with pytest.raises(ImproperlyConfigured, match="texts of 16 characters or more") as caught:
        app.conf.check()
    assert "short" not in str(caught.value)
    app.conf.lavoro_signing_keys = [NEW]
    app.conf.check()
    assert NEW not in app.conf.humanize()
    assert NEW not in repr(app.conf)
