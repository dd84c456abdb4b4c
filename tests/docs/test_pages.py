"""Every page is true: its code runs, its commands exist, its links lead somewhere, its tables are those of the code."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import orjson
import pytest
from django.conf import global_settings
from django.core.management.base import CommandError

from crm_monitoring import conf
from tests import readme
from tests.docs import shell
from tests.docs.conftest import Page
from tests.docs.markdown import PAGES, README, ROOT, anchors, blocks, headings, links, name_of, prose

LANGUAGES = {"crontab", "ini", "json", "python", "shell", "text"}
WITH_PYTHON = [path for path in PAGES if blocks(path, "python")]
# Settings and variables of others that the pages name.
OF_OTHERS = {
    "HELD_BACK",
    "SENTRY_LEVELS",
    "EXCEPTION_HANDLER",
    "SHARED_APPS",
    "TENANT_APPS",
    "APP_DIRS",
    "CRM_MONITORING",
    "DJANGO_SETTINGS_MODULE",
    "DJANGO_STRUCTLOG_DJANGO_TASKS_ENABLED",
}


@pytest.mark.django_db
@pytest.mark.parametrize("path", WITH_PYTHON, ids=name_of)
def test_its_python_runs(path: Path, page: Page) -> None:
    assert page(path)


@pytest.mark.processes
@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_shell_can_read_its_commands(path: Path) -> None:
    for block in blocks(path, "shell"):
        subprocess.run(["bash", "-n", "-c", block.text], check=True)


@pytest.mark.parametrize(("path", "text"), [(name_of(path), b.text) for path in PAGES for b in blocks(path, "shell")])
def test_its_commands_are_there(path: str, text: str) -> None:
    for words in shell.commands(text):
        shell.check(words)


@pytest.mark.parametrize(
    "command", ["python manage.py monitoring chek", "pip install .[nothing]", "pytest tests/none", "rm -r ."]
)
def test_a_command_that_is_not_there_would_be_found(command: str) -> None:
    with pytest.raises((AssertionError, CommandError)):
        shell.check(command.split())


@pytest.mark.parametrize(("path", "text"), [(name_of(path), b.text) for path in PAGES for b in blocks(path, "json")])
def test_its_json_is_json(path: str, text: str) -> None:
    assert orjson.loads(text)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_its_blocks_say_their_language(path: Path) -> None:
    assert {block.language for block in blocks(path)} <= LANGUAGES


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_its_links_lead_somewhere(path: Path) -> None:
    broken = [target for target in links(path) if not _is_there(path, target)]

    assert broken == []


def _is_there(path: Path, target: str) -> bool:
    file, _, anchor = target.partition("#")
    found = path.parent / file if file else path
    return found.exists() and (not anchor or anchor in anchors(found))


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_it_names_no_place_on_the_machine_that_made_it(path: Path) -> None:
    assert str(ROOT) not in path.read_text()


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_it_begins_with_its_title(path: Path) -> None:
    assert path.read_text().startswith("# ")
    assert [heading.level for heading in headings(path)].count(1) == 1


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_the_settings_it_names_are_there(path: Path) -> None:
    code = " ".join(re.findall(r"`([^`\n]+)`", prose(path)))
    names = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", code))

    assert names - conf.known_keys().keys() - set(dir(global_settings)) - OF_OTHERS == set()


@pytest.mark.parametrize(
    ("path", "text"), list(readme.pages()), ids=lambda value: value.name if isinstance(value, Path) else ""
)
def test_it_is_what_the_code_says(path: Path, text: str) -> None:
    assert path.read_text() == text, "run `python -m tests.readme --write`"


def test_every_page_is_in_the_index() -> None:
    linked = {target.partition("#")[0] for target in links(ROOT / "docs" / "README.md")}

    assert {path.name for path in PAGES if path != README} - linked == {"README.md"}


def test_every_page_can_be_found_from_the_readme() -> None:
    linked = {target.partition("#")[0] for target in links(README)}

    assert {name_of(path) for path in PAGES if path != README} - linked == {"docs/README.md"}
