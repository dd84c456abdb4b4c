"""The mails that the demo sends are put into a folder, and read from there."""

from __future__ import annotations

import os
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


def send(folder: Path, *subjects: str) -> Path:
    """Send mails over one connection, as text and HTML; return the file, which has all mails of a connection."""
    folder.mkdir(exist_ok=True)
    with EmailBackend(file_path=str(folder)) as backend:
        for subject in subjects:
            mail = EmailMultiAlternatives(subject, f"About {subject} – été", "demo@crm.example", ["admin@crm.example"])
            mail.attach_alternative("<p>HTML</p>", "text/html")
            mail.extra_headers["Date"] = f"Mon, 23 Nov 2026 10:00:0{subject[-1]} -0000"
            backend.send_messages([mail])
    # Two connections of a second may have got the same name.
    (path,) = folder.glob("2*.log")
    return path.rename(folder / f"of {subjects[0]}.log")


def last_used(path: Path, moment: str) -> None:
    seconds = datetime.fromisoformat(moment).timestamp()
    os.utime(path, (seconds, seconds))


def test_before_the_first_mail_there_is_none():
    assert mails.newest(3) == []


def test_the_newest_mails_come_first_from_whatever_file(folder):
    send(folder, "Alert 1", "Alert 3")
    send(folder, "Alert 2")
    send(folder, "Alert 4")

    assert [mail.subject for mail in mails.newest(3)] == ["Alert 4", "Alert 3", "Alert 2"]


def test_a_file_that_was_written_to_for_long_hides_no_mail_of_a_shorter_one(folder):
    last_used(send(folder, "Alert 3"), "2026-11-23T10:00:03+00:00")
    send(folder, "Alert 1", "Alert 2", "Alert 4")

    assert [mail.subject for mail in mails.newest(3)] == ["Alert 4", "Alert 3", "Alert 2"]


def test_files_that_are_older_than_all_mails_asked_for_are_not_read(folder):
    old = send(folder, "Alert 1")
    old.write_bytes(b"no mail")
    last_used(old, "2026-11-23T10:00:01+00:00")
    send(folder, "Alert 2", "Alert 3")

    assert [mail.subject for mail in mails.newest(2)] == ["Alert 3", "Alert 2"]


def test_a_mail_is_shown_as_text(folder):
    send(folder, "Alert 1")

    (mail,) = mails.newest(3)

    assert mail.to == "admin@crm.example"
    assert mail.text.strip() == "About Alert 1 – été"
    assert mail.sent == datetime(2026, 11, 23, 10, 0, 1, tzinfo=UTC)


def test_the_folder_lies_beside_the_database_and_is_ignored_as_that_is():
    assert f"{demo.DATABASES['default']['NAME']}.mails" == demo.MAIL_FOLDER
