"""
What the pages say of the code, made from the code: `python -m tests.readme --write`.

The tables of settings and checks stand between markers in their pages; docs/api.md is made as a whole.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import EnumType
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "crm_monitoring"
DOCS = ROOT / "docs"

_CHECK_ID = re.compile(r"crm_monitoring\.[EW]\d{3}")


def pages() -> Iterator[tuple[Path, str]]:
    """Yield each page that is made from the code, wholly or in part, and what it has to say."""
    yield DOCS / "settings.md", _between(DOCS / "settings.md", "settings", settings_table())
    yield DOCS / "checks.md", _between(DOCS / "checks.md", "checks", checks_table())
    yield DOCS / "api.md", api_page()


def _between(page: Path, name: str, table: str) -> str:
    before, begin, rest = page.read_text().partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    if not (begin and end):
        raise ValueError(f"{page} has no markers for {name}.")
    return f"{before}{begin}{table}\n{end}{after}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# -- settings -------------------------------------------------------------------------------------------------------------


def settings_table() -> str:
    """Return the Markdown table of CRM_MONITORING's keys: name, type, default, meaning."""
    from crm_monitoring.conf import Config
    from crm_monitoring.dashboard.config import DashboardConfig

    rows = (
        _setting(name, declared.__annotations__[name], key)
        for declared in (Config, DashboardConfig)
        for name, key in declared.declared.items()
    )
    return _table(["Key", "Type", "Default", "Meaning"], rows)


def _setting(name: str, kind: str, key: Any) -> list[str]:
    meaning = f"{key.meaning} Environment variable: `{key.env}`." if key.env else key.meaning
    default = list(key.default) if isinstance(key.default, tuple | frozenset) else key.default
    return [f"`{name}`", f"`{kind}`", f"`{default!r}`", meaning]


# -- checks ---------------------------------------------------------------------------------------------------------------


class Check(NamedTuple):
    """One id of `manage.py check`, as the docstring below its constant describes it."""

    id: str
    when: str
    remedy: str


def checks_table() -> str:
    """Return the Markdown table of the checks: id, when it is raised, what to do."""
    return _table(["id", "when", "what to do"], ([f"`{check.id}`", check.when, check.remedy] for check in all_checks()))


def all_checks() -> list[Check]:
    """Return every check, by its id. Raises a ValueError for one without a docstring of two sentences."""
    return sorted(check for path in sorted(PACKAGE.rglob("*.py")) for check in _checks_of(path))


def _checks_of(path: Path) -> Iterator[Check]:
    body = ast.parse(path.read_text()).body
    for statement, following in pairwise([*body, ast.Pass()]):
        match statement:
            case ast.Assign(value=ast.Constant(value=str(value))) if _CHECK_ID.fullmatch(value):
                yield _check(value, following, path)


def _check(check_id: str, following: ast.stmt, path: Path) -> Check:
    match following:
        case ast.Expr(value=ast.Constant(value=str(text))):
            when, _, remedy = " ".join(text.split()).partition(". ")
            if remedy:
                return Check(check_id, when, remedy.rstrip("."))
    raise ValueError(f"{check_id} in {path} has no docstring: when it is raised. What to do.")


# -- the API --------------------------------------------------------------------------------------------------------------

_API = {
    "crm_monitoring": "What your code imports.",
    "crm_monitoring.testing": "For your own tests. With pytest, the fixture `captured_monitoring` gives the same for a whole test.",
    "crm_monitoring.extending": "For apps that build on this one: see [Extending](extending.md).",
    "crm_monitoring.dashboard.extending": "For channels, rules and cards of your own: see [Extending](extending.md#by-the-setting).",
    "crm_monitoring.middleware": "For `MIDDLEWARE`.",
    "crm_monitoring.logs": "For `LOGGING`: see [your own logging set-up](log-lines.md#your-own-logging-set-up).",
    "crm_monitoring.views": "For `urls.py`.",
    "crm_monitoring.asgi": "For `asgi.py`: see [servers](log-lines.md#servers).",
    "crm_monitoring.dashboard.router": "For `DATABASE_ROUTERS`.",
}
_NAMES = {
    "crm_monitoring.testing": ("capture_monitoring", "Captured"),
    "crm_monitoring.middleware": ("MonitoringMiddleware",),
    "crm_monitoring.logs": ("Formatter", "Handler"),
    "crm_monitoring.views": ("monitoring", "live", "ready", "test_sentry", "server_error"),
    "crm_monitoring.asgi": ("flushed_at_shutdown",),
    "crm_monitoring.dashboard.router": ("DashboardRouter",),
}
"""What of a module is public where it has no `__all__`."""

_USED_BY_CALLS = (
    "crm_monitoring",
    "crm_monitoring.testing",
    "crm_monitoring.extending",
    "crm_monitoring.dashboard.extending",
)
"""Classes of the others are only named in settings."""

_API_HEAD = """# API

Every public name, made from the docstrings by `python -m tests.readme --write`. What is not named here may change without notice.
"""
_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):$", re.MULTILINE)
_ITEM = re.compile(r"^(\*{0,2}[\w., ]+): (.*)", re.DOTALL)


def api_page() -> str:
    """Return docs/api.md: of each public name its signature and its docstring."""
    return "\n".join([_API_HEAD, *(_module(name, about) for name, about in _API.items())])


def public_names(module: str) -> tuple[str, ...]:
    """Return the public names of a module, in the order of the page."""
    return _NAMES.get(module) or tuple(import_module(module).__all__)


def _module(module: str, about: str) -> str:
    owner = import_module(module)
    names = [name for name in public_names(module) if not _is_shown_before(module, getattr(owner, name))]
    entries = (_entry(name, getattr(owner, name), module in _USED_BY_CALLS) for name in names)
    again = ", ".join(f"[`{name}`](#{name.lower()})" for name in public_names(module) if name not in names)
    also = [f"Also here: {again}.\n"] if again else []
    return "\n".join([f"## {module}\n\n{about}\n", *also, *entries])


def _is_shown_before(module: str, thing: Any) -> bool:
    top = import_module("crm_monitoring")
    return module != "crm_monitoring" and any(thing is getattr(top, name) for name in top.__all__)


def _entry(name: str, thing: Any, has_members: bool) -> str:
    if inspect.ismodule(thing):
        return f"### {name}\n\nThe module `{thing.__name__}`. {_docstring(thing)}"
    if not callable(thing):
        return f"### {name}\n\n{_value(thing)}\n"
    parts = [f"### {name}\n", f"```text\n{_call(name, thing)}\n```\n", _docstring(thing)]
    if has_members and inspect.isclass(thing) and thing.__module__.startswith("crm_monitoring"):
        parts += [_member(member, value) for member, value in vars(thing).items() if _is_public(member, value)]
    return "\n".join(parts)


def _value(thing: Any) -> str:
    members = " | ".join(member.__name__ for member in getattr(thing, "__args__", ()))
    # An object that stands for something has an address only.
    return f"`{members or repr(thing)}`" if members or " object at 0x" not in repr(thing) else "A value of its own."


def _call(name: str, thing: Any) -> str:
    try:
        if isinstance(thing, EnumType):
            # Nobody calls it, and each Python shows another way to.
            return name
        signature = inspect.signature(thing)
    except ValueError:
        return name
    parameters = [_written(parameter) for parameter in signature.parameters.values() if parameter.name != "self"]
    returned = signature.empty if inspect.isclass(thing) else _Written(signature.return_annotation)
    return f"{name}{signature.replace(parameters=parameters, return_annotation=returned)}"


def _written(parameter: inspect.Parameter) -> inspect.Parameter:
    if parameter.annotation is not parameter.empty:
        parameter = parameter.replace(annotation=_Written(parameter.annotation))
    # An object that stands for "not given" has an address only.
    return parameter.replace(default=_Written("...")) if " object at 0x" in repr(parameter.default) else parameter


class _Written:
    """An annotation as it is written in the source, without quotes: of a NamedTuple it is a reference still."""

    def __init__(self, annotation: Any) -> None:
        self._text = getattr(annotation, "__forward_arg__", annotation)

    def __repr__(self) -> str:
        return str(self._text)


def _is_public(name: str, value: Any) -> bool:
    return (
        not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)) and bool(value.__doc__)
    )


def _member(name: str, value: Any) -> str:
    shown = name if isinstance(value, property) else _call(name, value)
    return f"`.{shown}`: {_docstring(value)}"


def _docstring(thing: Any) -> str:
    text = inspect.getdoc(thing)
    if not text:
        raise ValueError(f"{thing!r} has no docstring.")
    opening, *sections = _SECTION.split(text)
    parts = [opening.strip()]
    for title, content in zip(sections[::2], sections[1::2], strict=True):
        parts += [f"{title}:", *_listed(inspect.cleandoc(content).strip())]
    return "\n\n".join(parts) + "\n"


def _listed(content: str) -> Iterator[str]:
    """Yield the items of a section as one list, or what it says as it is."""
    items = [" ".join(item.split()) for item in re.split(r"\n(?=\S)", content)]
    if all(_ITEM.match(item) for item in items):
        yield "\n".join(f"- `{match[1]}`: {match[2]}" for item in items if (match := _ITEM.match(item)))
    else:
        yield " ".join(content.split())


# -- the command ----------------------------------------------------------------------------------------------------------


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.readme", description="Say which pages are not those of the code."
    )
    parser.add_argument("--write", action="store_true", help="write them")
    return parser.parse_args(arguments)


def main() -> None:
    """Run the command; without --write it fails where a page has to be written."""
    options = parse()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    old = [(page, text) for page, text in pages() if not page.exists() or page.read_text() != text]
    for page, text in old:
        if options.write:
            page.write_text(text)
        sys.stdout.write(f"{'Written' if options.write else 'Not that of the code'}: {page.relative_to(ROOT)}\n")
    sys.exit(bool(old) and not options.write)


if __name__ == "__main__":
    main()
