"""What is to be done once a library is imported, so that one that is merely installed costs nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec
from types import ModuleType

from crm_monitoring import faults

_awaited: dict[str, list[Callable[[], object]]] = {}


def when_imported(name: str, callback: Callable[[], object]) -> None:
    """
    Call `callback` once the module `name` has been imported: now, if it is already.

    A callback that raises is counted, and the import goes on. Waiting twice for the same has no effect.
    """
    if name in sys.modules:
        faults.guarded(callback)()
    elif callback not in _awaited.setdefault(name, []):
        _awaited[name].append(callback)
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)


class _Finder(MetaPathFinder):
    """Finds nothing itself, but hears of each import before the others do."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module that is awaited, as the others find it, None of each other."""
        # Taken out meanwhile, for the others are asked by the same road.
        callbacks = _awaited.pop(fullname, None)
        if callbacks is None:
            return None
        try:
            spec = find_spec(fullname)
        finally:
            # Whoever looks for the module need not import it.
            _awaited[fullname] = callbacks
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            _follow(spec.loader, fullname)
        return spec


def _follow(loader: SourceFileLoader, name: str) -> None:
    """Call who waits for the module when `loader`, which is this one module's, has run its code."""
    plain = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        plain(module)
        for callback in _awaited.pop(name, ()):
            faults.guarded(callback)()

    loader.exec_module = exec_module  # type: ignore[method-assign]


_finder = _Finder()
