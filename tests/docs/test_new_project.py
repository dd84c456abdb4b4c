"""Who follows the README in a new project has a site that works: real files, real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from django.core.management import call_command

from tests.docs.markdown import README, ROOT, blocks

pytestmark = pytest.mark.processes

pytestmark = pytest.mark.processes

VISIT = """
import json
from django.contrib.auth.models import User
from django.test import Client

client = Client(headers={"host": "localhost"})
health, stranger = client.get("/health/monitoring"), client.get("/monitoring/")
client.force_login(User.objects.get())
page = client.get("/monitoring/")
print(json.dumps([health.json()["status"], stranger.headers["Location"], page.status_code]))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `startproject` makes, with the blocks of the README at the ends of the two files that they name."""
    folder = tmp_path_factory.mktemp("project")
    call_command("startproject", "crm", folder)
    app, addresses, _, dashboard = (block.text for block in blocks(README, "python"))
    of_settings, of_urls = dashboard.split("\n\n")
    _append(folder / "crm" / "settings.py", app, of_settings)
    _append(folder / "crm" / "urls.py", addresses, of_urls)
    manage(folder, "migrate")
    manage(folder, "createsuperuser", "--noinput", "--username=alva", "--email=alva@example.org")
    return folder


def _append(path: Path, *texts: str) -> None:
    path.write_text("\n\n".join([path.read_text(), *texts]))


def manage(project: Path, *arguments: str) -> str:
    """Run manage.py, and return what it prints besides lines of ours."""
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environment |= {"PYTHONPATH": str(ROOT), "DJANGO_SUPERUSER_PASSWORD": "correct horse"}
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_nothing_is_to_be_complained_of(project: Path) -> None:
    assert "no issues" in manage(project, "check", "--tag=crm_monitoring")


def test_a_test_event_arrives(project: Path) -> None:
    assert "Both arrived in the inbox." in manage(project, "monitoring", "test")


def test_a_superuser_sees_the_dashboard(project: Path) -> None:
    answered = manage(project, "shell", "--no-imports", "--command", VISIT).splitlines()[-1]

    assert orjson.loads(answered) == ["ok", "/admin/login/?next=/monitoring/", 200]
