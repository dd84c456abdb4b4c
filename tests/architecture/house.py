"""What the modules of the package import, read from their source: imports in functions and those only for the type checker too."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

NAME = "crm_monitoring"
PACKAGE = Path(__file__).parents[2] / NAME


@dataclass(frozen=True)
class Module:
    """A module by its name within the package, "sentry.sdk"; that of the package itself is ""."""

    name: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.tree))

    @cached_property
    def imports(self) -> frozenset[str]:
        """The dotted names it imports, "package.module.name"."""
        return frozenset(self._imports())

    def _imports(self) -> Iterator[str]:
        for node in self.nodes:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    @cached_property
    def names(self) -> frozenset[str]:
        """What it offers: names that it imports or gives."""
        imported = (
            alias.asname or alias.name
            for node in self.tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        )
        given = (node.name for node in self.tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef))
        assigned = (node.id for node in self.nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
        return frozenset((*imported, *given, *assigned))

    @property
    def libraries(self) -> set[str]:
        """The libraries it imports besides Python's own, Django, and what Django stands on."""
        tops = {name.split(".")[0] for name in self.imports}
        return tops - set(sys.stdlib_module_names) - {NAME, "asgiref", "django"}


def _read() -> Iterator[Module]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if "migrations" not in parts:
            yield Module(".".join(part for part in parts if part != "__init__"), path.read_text())


MODULES = {module.name: module for module in _read()}
PACKAGES = {name for name in MODULES if (PACKAGE / name.replace(".", "/")).is_dir()} - {""}


def arrows(module: Module) -> set[str]:
    """Return the names of those of our modules that this one imports."""
    return {_module_of(name) for name in module.imports if name.split(".")[0] == NAME} - {module.name}


def _module_of(dotted: str) -> str:
    name = dotted.removeprefix(NAME).removeprefix(".")
    return name if name in MODULES else name.rpartition(".")[0]


def entrances(module: Module) -> set[str]:
    """Return what it imports from within other packages of ours that their `__init__` does not offer."""
    own = (name.removeprefix(f"{NAME}.") for name in module.imports if name.startswith(f"{NAME}."))
    return {
        name
        for name in own
        for package in PACKAGES
        if name.startswith(f"{package}.") and not within(module.name, package)
        if name.removeprefix(f"{package}.") not in MODULES[package].names
    }


def within(name: str, package: str) -> bool:
    """Whether the module is the package, or in it."""
    return package in ("", name) or name.startswith(f"{package}.")


def room(name: str, package: str = "") -> str:
    """Return the part of `package` that the module belongs to: its own name, or that of the package it lies in; "" for `__init__`."""
    return name.removeprefix(package).removeprefix(".").split(".")[0]


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return those that can be reached from themselves, together with those on the way."""
    reached = {name: _reachable(name, graph) for name in graph}
    together = {
        tuple(sorted(other for other in reached[name] if name in reached.get(other, ())))
        for name in graph
        if name in reached[name]
    }
    return [list(one) for one in sorted(together)]


def _reachable(name: str, graph: Mapping[str, Iterable[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(graph[name])
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += graph.get(one, ())
    return found


def private(module: Module) -> Iterator[str]:
    """Yield the private names that are reached: imported, attributes, and texts that name attributes."""
    for name in module.imports:
        yield from (part for part in name.split(".") if is_private(part))
    for node in module.nodes:
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            yield node.attr
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("attr"):
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and is_private(str(arg.value)))


def defined(module: Module) -> Iterator[str]:
    """Yield the private names that the module gives: to functions, classes, variables and attributes."""
    for node in module.nodes:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Name(ctx=ast.Store()):
                yield node.id
            case ast.Attribute(ctx=ast.Store(), value=ast.Name(id="self")):
                yield node.attr
            case ast.Assign(targets=[ast.Name(id="__slots__")], value=ast.Tuple() as slots):
                yield from (str(slot.value) for slot in slots.elts if isinstance(slot, ast.Constant))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"
