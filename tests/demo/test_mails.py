"""The mails that the demo sends are put into a folder, and read from there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.filebased import EmailBackend

from demo_project import settings as demo
from demo_project.organisations import mails


@pytest.fixture(autouse=True)
def folder(settings, tmp_path) -> Path:
    settings.MAIL_FOLDER = tmp_path / "mails"
    return settings.MAIL_FOLDER


def send(folder: Path, *subjects: str) -> None:
    """Send mails over one connection, as text and HTML; each file has all mails of a connection."""
    folder.mkdir(exist_ok=True)
    with EmailBackend(file_path=str(folder)) as backend:
        for subject in subjects:
            mail = EmailMultiAlternatives(subject, f"About {subject} – été", "demo@crm.example", ["admin@crm.example"])
            mail.attach_alternative("<p>HTML</p>", "text/html")
            mail.extra_headers["Date"] = f"Mon, 23 Nov 2026 10:00:0{subject[-1]} -0000"
            backend.send_messages([mail])


def test_before_the_first_mail_there_is_none():
    assert mails.newest(3) == []


def test_the_newest_mails_come_first_from_whatever_file(folder):
    send(folder, "Alert 1", "Alert 3")
    send(folder, "Alert 2")
    send(folder, "Alert 4")

    assert [mail.subject for mail in mails.newest(3)] == ["Alert 4", "Alert 3", "Alert 2"]


def test_a_mail_is_shown_as_text(folder):
    send(folder, "Alert 1")

    (mail,) = mails.newest(3)

    assert mail.to == "admin@crm.example"
    assert mail.text.strip() == "About Alert 1 – été"
    assert mail.sent == datetime(2026, 11, 23, 10, 0, 1, tzinfo=UTC)


def test_the_folder_lies_beside_the_database_and_is_ignored_as_that_is():
    assert f"{demo.DATABASES['default']['NAME']}.mails" == demo.MAIL_FOLDER
