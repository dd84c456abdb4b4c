"""Every text that a person sees is there in French."""

from __future__ import annotations

import ast
import gettext
import re
import shutil
import string
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from django.core.management import call_command

PACKAGE = Path(__file__).parents[3] / "crm_monitoring"
FRENCH = PACKAGE / "locale" / "fr" / "LC_MESSAGES"
PLACEHOLDER = re.compile(r"%\(\w+\)s|%%|\{\w+\}")


class Message(NamedTuple):
    """One entry of a catalogue; a plural form has all its translations."""

    text: str
    translations: tuple[str, ...]
    is_fuzzy: bool


def messages(path: Path) -> Iterator[Message]:
    """The entries of a .po or .pot file."""
    for block in path.read_text().split("\n\n"):
        parts = dict(re.findall(r'^(msg\S+) ((?:".*"\n?)+)', block, re.MULTILINE))
        texts = {name: "".join(map(ast.literal_eval, lines.splitlines())) for name, lines in parts.items()}
        if texts.get("msgid"):
            translations = tuple(text for name, text in texts.items() if name.startswith("msgstr"))
            yield Message(texts["msgid"], translations, "#, fuzzy" in block)


@pytest.fixture(scope="module")
def french() -> dict[str, Message]:
    return {message.text: message for message in messages(FRENCH / "django.po")}


@pytest.mark.processes
@pytest.mark.skipif(shutil.which("xgettext") is None, reason="xgettext is not installed")
def test_catalogue_holds_every_text_of_the_package(
    french: dict[str, Message], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(PACKAGE, tmp_path / "package", ignore=shutil.ignore_patterns("*.pyc", "fr"))
    monkeypatch.chdir(copy)

    call_command("makemessages", locale=["fr"], keep_pot=True, verbosity=0)

    found = {message.text for message in messages(copy / "locale" / "django.pot")}
    assert found - french.keys() == set()
    assert french.keys() - found == set()


def test_no_text_is_left_in_english_or_to_be_checked(french: dict[str, Message]) -> None:
    assert len(french) > 200
    assert [message.text for message in french.values() if not all(message.translations) or message.is_fuzzy] == []


def test_translations_keep_what_is_filled_in(french: dict[str, Message]) -> None:
    for message in french.values():
        for translation in message.translations:
            assert sorted(PLACEHOLDER.findall(translation)) == sorted(PLACEHOLDER.findall(message.text))
            assert translation.count("<") == message.text.count("<")


def test_sentences_end_as_in_english(french: dict[str, Message]) -> None:
    for message in french.values():
        for translation in message.translations:
            ending = message.text[-1] if message.text[-1] in ".:?" else ""
            assert translation.rstrip(string.whitespace)[-1:] == ending or not ending


def test_compiled_catalogue_is_that_of_the_text(french: dict[str, Message]) -> None:
    with (FRENCH / "django.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)

    for message in french.values():
        plurals = len(message.translations) > 1
        told = compiled.ngettext(message.text, message.text, 1) if plurals else compiled.gettext(message.text)
        assert told == message.translations[0]
