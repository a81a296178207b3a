"""Writes the site's letters and hands them to the mail server."""

from __future__ import annotations

import smtplib
from email.headerregistry import Address
from email.message import EmailMessage

from flask import current_app, render_template

from .models import User


def write(kind: str, subject: str, user: User) -> EmailMessage:
    """Return the letter ``templates/mail/<kind>`` to a user, as text and as HTML.

    The same letter always has the same Message-ID: should a task send it twice because its worker died between sending
    and saying so, mailboxes show it once.
    """
    sender = current_app.config["MAIL_FROM"]
    letter = EmailMessage()
    letter["Subject"] = subject
    letter["From"] = Address("The Darkroom", addr_spec=sender)
    letter["To"] = Address(user.name, addr_spec=user.email)
    letter["Message-ID"] = f"<{kind}.{user.id}.{user.created:%Y%m%d%H%M%S}@{sender.partition('@')[2]}>"
    letter.set_content(render_template(f"mail/{kind}.txt", user=user))
    letter.add_alternative(render_template(f"mail/{kind}.html", user=user), subtype="html")
    return letter


def post(letter: EmailMessage) -> int:
    """Hand the letter to the mail server and return its size in bytes; raises smtplib's errors and OSError."""
    config = current_app.config
    with smtplib.SMTP(config["SMTP_HOST"], config["SMTP_PORT"], timeout=10) as server:
        server.send_message(letter)
    return len(bytes(letter))
