"""Tells from its source whether an exception handler of Django REST framework's hides every crash."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

_REPORTS = ("capture_exception", "exception", "got_request_exception")


def hides_crashes(handler: Callable[..., Any]) -> bool:
    """
    Whether a handler answers whatever is raised, and tells nobody.

    It does where it returns a response that it makes itself without having asked of what class the exception is, and nowhere
    logs it with `exception()` or captures it. Where its source cannot be read, the answer is no.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(handler)))
    except (OSError, TypeError, SyntaxError):
        return False
    return not any(map(_reports, ast.walk(tree))) and any(_answers(tree))


def _reports(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and _name(node.func) in _REPORTS


def _answers(node: ast.AST) -> Iterator[bool]:
    """Yield True for each response that is returned whatever the exception is."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Return):
            yield isinstance(child.value, ast.Call) and _name(child.value.func).endswith("Response")
        elif not (isinstance(child, ast.If) and "isinstance" in ast.unparse(child.test)):
            yield from _answers(child)


def _name(function: ast.expr) -> str:
    return ast.unparse(function).rpartition(".")[2]
