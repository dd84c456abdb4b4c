"""What the tests read of a page: its blocks of code, headings, links and marked parts."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = (README, *sorted(DOCS.glob("*.md")))

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_NOT_IN_AN_ANCHOR = re.compile(r"[^\w\- ]")


class Block(NamedTuple):
    """A block of code; `line` is that of its first line of code in the page."""

    language: str
    line: int
    text: str


class Heading(NamedTuple):
    """A heading, "## Install" being of level 2."""

    level: int
    text: str


def name_of(page: Path) -> str:
    """Return the page's path from the root, as test ids show it."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str = "") -> list[Block]:
    """Return the page's blocks of code, in order; of one language, if given."""
    text = page.read_text()
    found = [Block(match[1], text.count("\n", 0, match.start()) + 2, match[2]) for match in _BLOCK.finditer(text)]
    return [block for block in found if not language or block.language == language]


def prose(page: Path) -> str:
    """Return the page without its blocks of code."""
    return _BLOCK.sub("", page.read_text())


def headings(page: Path) -> list[Heading]:
    """Return the page's headings, in order."""
    return [Heading(len(match[1]), match[2]) for match in _HEADING.finditer(prose(page))]


def anchors(page: Path) -> set[str]:
    """Return what a link may name behind the `#`, as GitHub makes it of headings."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in headings(page):
        slug = _NOT_IN_AN_ANCHOR.sub("", heading.text.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def links(page: Path) -> list[str]:
    """Return where the page's links and pictures lead, within the repository."""
    return [target for target in _LINK.findall(prose(page)) if "://" not in target]


def marked(page: Path, name: str) -> str:
    """Return what stands between `<!-- name -->` and `<!-- /name -->`."""
    _, _, rest = page.read_text().partition(f"<!-- {name} -->\n")
    part, end, _ = rest.partition(f"\n<!-- /{name} -->")
    assert end, f"{page.name} has no part {name!r}"
    return part


def section(page: Path, heading: str) -> str:
    """Return the text below a heading, up to the next of its level or above."""
    level = next(found.level for found in headings(page) if found.text == heading)
    _, _, rest = page.read_text().partition(f"\n{'#' * level} {heading}\n")
    return re.split(rf"^#{{1,{level}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]
