"""Shell commands of the pages, held against those who take them: a misspelt option, extra or path is an error."""

from __future__ import annotations

import argparse
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec

from celery.bin.celery import celery
from django.core.management import get_commands, load_command_class

from tests import readme
from tests.benchmarks import __main__ as benchmarks
from tests.docs.markdown import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TOOLS = {
    "build": ("python -m build",),
    "coverage": ("coverage report", 'coverage run -m pytest -n 0 -m ""'),
    "curl": ("curl http://localhost:8000/health/live",),
    "docker": (
        "docker run --detach --publish 5432:5432 --env POSTGRES_HOST_AUTH_METHOD=trust postgres",
        "docker run --detach --publish 3306:3306 --env MARIADB_ALLOW_EMPTY_ROOT_PASSWORD=1 mariadb",
    ),
    "msgfmt": ("msgfmt --check --output-file locale/fr/LC_MESSAGES/django.mo locale/fr/LC_MESSAGES/django.po",),
    "mypy": ("mypy",),
    "ruff": ("ruff check .", "ruff format --check ."),
    "twine": ("twine check dist/*", "twine upload dist/*"),
}
"""Tools of others, whose command lines were tried by hand: another one is an error until somebody has tried it too."""

_VARIABLE = re.compile(r"\$\w+")


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of a block; variables become a text, comments nothing."""
    for line in text.splitlines():
        words: list[str] = []
        for word in shlex.split(_VARIABLE.sub("value", line), comments=True):
            if word == "&&":
                yield words
                words = []
            else:
                words.append(word)
        if words:
            yield words


def check(words: Sequence[str]) -> None:
    """Raise an AssertionError or SystemExit where the command does not exist, or would not take these arguments."""
    tool, *arguments = words
    tool = tool.removeprefix(".venv/bin/")
    if tool in _CHECKS:
        _CHECKS[tool](arguments)
    else:
        _known_tool(tool, [tool, *arguments])


def _known_tool(tool: str, words: Sequence[str]) -> None:
    assert list(words) in map(shlex.split, TOOLS.get(tool, ())), f"Nobody has tried {shlex.join(words)!r}"


def _python(arguments: Sequence[str]) -> None:
    if arguments[0] == "manage.py":
        _manage(arguments[1:])
        return
    option, module, *rest = arguments
    assert option == "-m"
    if module in _MODULES:
        _MODULES[module](rest)
    else:
        _known_tool(module, ["python", *arguments])


def _manage(arguments: Sequence[str]) -> None:
    name, *rest = arguments
    command = load_command_class(get_commands()[name], name)
    # The database of the pages is none of the tests'.
    command.create_parser("manage.py", name).parse_args([word.replace("=monitoring", "=default") for word in rest])


def _venv(arguments: Sequence[str]) -> None:
    assert arguments == [".venv"]


def _zipfile(arguments: Sequence[str]) -> None:
    assert arguments == ["-l", f"dist/crm_monitoring-{PROJECT['version']}-py3-none-any.whl"]


def _screenshot(arguments: Sequence[str]) -> None:
    assert set(arguments) <= {"docs/dashboard.png", "--dark", "--phone"}
    assert find_spec("tests.screenshot")


def _pip(arguments: Sequence[str]) -> None:
    assert arguments[0] == "install"
    for target in arguments[1:]:
        if target not in (".", "-e", *TOOLS):
            assert set(target.removeprefix(".[").removesuffix("]").split(",")) <= set(PROJECT["optional-dependencies"])


def _pytest(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("paths", nargs="*")
    parser.add_argument("-x", action="store_true")
    parser.add_argument("-p")
    parser.add_argument("-m")
    for path in parser.parse_args(arguments).paths:
        assert (ROOT / path).exists(), path


def _celery(arguments: Sequence[str]) -> None:
    # Parsed only, for there is no application of that name here.
    context = celery.make_context("celery", list(arguments), resilient_parsing=True)
    assert arguments[-1] in celery.list_commands(context)


_MODULES: dict[str, Callable[[Sequence[str]], object]] = {
    "tests.benchmarks": benchmarks.parse,
    "tests.readme": readme.parse,
    "tests.screenshot": _screenshot,
    "venv": _venv,
    "zipfile": _zipfile,
}
_CHECKS: dict[str, Callable[[Sequence[str]], object]] = {
    "celery": _celery,
    "django-admin": _manage,
    "pip": _pip,
    "pytest": _pytest,
    "python": _python,
    "python3": _python,
}
